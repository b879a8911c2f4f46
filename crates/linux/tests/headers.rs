//! Every structure and number of the kernel's that this crate uses, compared with the kernel's own headers by a C compiler.
//!
//! The folder of the headers (`make headers` makes it: `usr/include` in the kernel's source) comes in `VCM_KERNEL_HEADERS`.
//! To add one: a line in the table of its header below.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What Rust has, by its name in C: sizes (`sizeof struct x`), offsets (`offsetof struct x y`) and numbers (`X`).
#[derive(Debug)]
struct Table {
    /// The header: `linux/iommufd.h`.
    header: &'static str,
    /// C's text for the number, and Rust's number. Numbers are compared in 64 bits.
    entries: Vec<(String, u64)>,
}

/// The name of a field in C.
macro_rules! name_in_c {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $other:literal) => {
        $other
    };
}

/// One structure, with its fields. A field whose name differs is written `rust as "c"`, one inside of another
/// `outer.inner as "inner"`.
macro_rules! structure {
    ($entries:ident, $name:ident, [$($field:ident $(. $inner:ident)* $(as $other:literal)?),* $(,)?]) => {
        let name = concat!("struct ", stringify!($name));
        $entries.push((format!("sizeof({name})"), size_of::<$name>() as u64));
        $(
            let offset = std::mem::offset_of!($name, $field $(. $inner)*) as u64;
            $entries.push((format!("offsetof({name}, {})", name_in_c!($field $($other)?)), offset));
        )*
    };
}

/// The table of a header: structures, which have the same names in C, and numbers.
macro_rules! table {
    ($header:literal, { $($name:ident { $($fields:tt)* })* }, { $($c:ident = $number:expr,)* }) => {{
        let mut entries: Vec<(String, u64)> = Vec::new();
        $(structure!(entries, $name, [$($fields)*]);)*
        $(entries.push((stringify!($c).to_string(), $number as u64));)*
        Table { header: $header, entries }
    }};
}

fn iommufd() -> Table {
    use iommufd_bindings::{self as uapi, *};
    let mut table = table!("linux/iommufd.h", {
        iommu_destroy { size, id }
        iommu_ioas_alloc { size, flags, out_ioas_id }
        iommu_iova_range { start, last }
        iommu_ioas_iova_ranges { size, ioas_id, num_iovas, __reserved, allowed_iovas, out_iova_alignment }
        iommu_ioas_allow_iovas { size, ioas_id, num_iovas, __reserved, allowed_iovas }
        iommu_ioas_map { size, flags, ioas_id, __reserved, user_va, length, iova }
        iommu_ioas_map_file { size, flags, ioas_id, fd, start, length, iova }
        iommu_ioas_copy { size, flags, dst_ioas_id, src_ioas_id, length, dst_iova, src_iova }
        iommu_ioas_unmap { size, ioas_id, iova, length }
        iommu_option { size, option_id, op, __reserved, object_id, val64 }
        iommu_hwpt_alloc {
            size, flags, dev_id, pt_id, out_hwpt_id, __reserved, data_type, data_len, data_uptr, fault_id, __reserved2
        }
        iommu_hw_info {
            size, flags, dev_id, data_len, data_uptr, __bindgen_anon_1.in_data_type as "in_data_type",
            __bindgen_anon_1.out_data_type as "out_data_type", out_max_pasid_log2, __reserved, out_capabilities
        }
        iommu_hw_info_vtd { flags, __reserved, cap_reg, ecap_reg }
        iommu_hw_info_arm_smmuv3 { flags, __reserved, idr, iidr, aidr }
        iommu_hw_info_amd { efr, efr2 }
        iommu_hwpt_set_dirty_tracking { size, flags, hwpt_id, __reserved }
        iommu_hwpt_get_dirty_bitmap { size, hwpt_id, flags, __reserved, iova, length, page_size, data }
        iommu_fault_alloc { size, flags, out_fault_id, out_fault_fd }
        iommu_hwpt_pgfault { flags, dev_id, pasid, grpid, perm, __reserved, addr, length, cookie }
        iommu_hwpt_page_response { cookie, code }
    }, {
        IOMMU_IOAS_MAP_FIXED_IOVA = uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_FIXED_IOVA,
        IOMMU_IOAS_MAP_WRITEABLE = uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_WRITEABLE,
        IOMMU_IOAS_MAP_READABLE = uapi::iommufd_ioas_map_flags_IOMMU_IOAS_MAP_READABLE,
        IOMMU_OPTION_RLIMIT_MODE = uapi::iommufd_option_IOMMU_OPTION_RLIMIT_MODE,
        IOMMU_OPTION_HUGE_PAGES = uapi::iommufd_option_IOMMU_OPTION_HUGE_PAGES,
        IOMMU_OPTION_OP_SET = uapi::iommufd_option_ops_IOMMU_OPTION_OP_SET,
        IOMMU_OPTION_OP_GET = uapi::iommufd_option_ops_IOMMU_OPTION_OP_GET,
        IOMMU_HWPT_ALLOC_DIRTY_TRACKING = uapi::iommufd_hwpt_alloc_flags_IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
        IOMMU_HWPT_FAULT_ID_VALID = uapi::iommufd_hwpt_alloc_flags_IOMMU_HWPT_FAULT_ID_VALID,
        IOMMU_HW_INFO_TYPE_NONE = uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_NONE,
        IOMMU_HW_INFO_TYPE_INTEL_VTD = uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_INTEL_VTD,
        IOMMU_HW_INFO_TYPE_ARM_SMMUV3 = uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
        IOMMU_HW_INFO_TYPE_AMD = uapi::iommu_hw_info_type_IOMMU_HW_INFO_TYPE_AMD,
        IOMMU_HW_CAP_DIRTY_TRACKING = uapi::iommufd_hw_capabilities_IOMMU_HW_CAP_DIRTY_TRACKING,
        IOMMU_HWPT_DIRTY_TRACKING_ENABLE =
            uapi::iommufd_hwpt_set_dirty_tracking_flags_IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
        IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR =
            uapi::iommufd_hwpt_get_dirty_bitmap_flags_IOMMU_HWPT_GET_DIRTY_BITMAP_NO_CLEAR,
        IOMMU_PGFAULT_FLAGS_PASID_VALID = uapi::iommu_hwpt_pgfault_flags_IOMMU_PGFAULT_FLAGS_PASID_VALID,
        IOMMU_PGFAULT_PERM_READ = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_READ,
        IOMMU_PGFAULT_PERM_WRITE = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_WRITE,
        IOMMU_PGFAULT_PERM_EXEC = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_EXEC,
        IOMMU_PGFAULT_PERM_PRIV = uapi::iommu_hwpt_pgfault_perm_IOMMU_PGFAULT_PERM_PRIV,
        IOMMUFD_PAGE_RESP_SUCCESS = uapi::iommufd_page_response_code_IOMMUFD_PAGE_RESP_SUCCESS,
        IOMMUFD_PAGE_RESP_INVALID = uapi::iommufd_page_response_code_IOMMUFD_PAGE_RESP_INVALID,
    });
    for command in vcm_linux::iommufd::command::ALL {
        table.entries.push((command.name.into(), u64::from(command.opcode)));
    }
    table
}

fn vfio() -> Table {
    use vfio_bindings::bindings::vfio::{self as uapi, *};
    /// `_IO(VFIO_TYPE, VFIO_BASE + number)`: VFIO tells sizes in its structures only.
    const fn number(number: u32) -> u32 {
        (uapi::VFIO_TYPE as u32) << 8 | (uapi::VFIO_BASE + number)
    }
    table!("linux/vfio.h", {
        vfio_group_status { argsz, flags }
        vfio_info_cap_header { id, version, next }
        vfio_device_info { argsz, flags, num_regions, num_irqs, cap_offset, pad }
        vfio_device_info_cap_pci_atomic_comp { header, flags, reserved }
        vfio_region_info { argsz, flags, index, cap_offset, size, offset }
        vfio_region_info_cap_sparse_mmap { header, nr_areas, reserved, areas }
        vfio_region_sparse_mmap_area { offset, size }
        vfio_region_info_cap_type { header, type_ as "type", subtype }
        vfio_irq_info { argsz, flags, index, count }
        vfio_irq_set { argsz, flags, index, start, count, data }
        vfio_pci_dependent_device { segment, bus, devfn }
        vfio_pci_hot_reset_info { argsz, flags, count, devices }
        vfio_pci_hot_reset { argsz, flags, count, group_fds }
        vfio_device_bind_iommufd { argsz, flags, iommufd, out_devid, token_uuid_ptr }
        vfio_device_attach_iommufd_pt { argsz, flags, pt_id, pasid }
        vfio_device_detach_iommufd_pt { argsz, flags, pasid }
        vfio_device_feature { argsz, flags, data }
        vfio_device_feature_dma_buf { region_index, open_flags, flags, nr_ranges, dma_ranges }
        vfio_region_dma_range { offset, length }
        vfio_iommu_type1_info { argsz, flags, iova_pgsizes, cap_offset, pad }
        vfio_iommu_type1_info_cap_iova_range { header, nr_iovas, reserved, iova_ranges }
        vfio_iova_range { start, end }
        vfio_iommu_type1_info_cap_migration { header, flags, pgsize_bitmap, max_dirty_bitmap_size }
        vfio_iommu_type1_info_dma_avail { header, avail }
        vfio_iommu_type1_dma_map { argsz, flags, vaddr, iova, size }
        vfio_iommu_type1_dma_unmap { argsz, flags, iova, size, data }
        vfio_iommu_type1_dirty_bitmap { argsz, flags, data }
        vfio_iommu_type1_dirty_bitmap_get { iova, size, bitmap }
        vfio_bitmap { pgsize, size, data }
    }, {
        VFIO_API_VERSION = uapi::VFIO_API_VERSION,
        VFIO_TYPE1v2_IOMMU = uapi::VFIO_TYPE1v2_IOMMU,
        VFIO_NOIOMMU_IOMMU = uapi::VFIO_NOIOMMU_IOMMU,
        VFIO_UNMAP_ALL = uapi::VFIO_UNMAP_ALL,
        VFIO_GROUP_FLAGS_VIABLE = uapi::VFIO_GROUP_FLAGS_VIABLE,
        VFIO_DEVICE_FLAGS_RESET = uapi::VFIO_DEVICE_FLAGS_RESET,
        VFIO_DEVICE_FLAGS_PCI = uapi::VFIO_DEVICE_FLAGS_PCI,
        VFIO_DEVICE_FLAGS_PLATFORM = uapi::VFIO_DEVICE_FLAGS_PLATFORM,
        VFIO_DEVICE_FLAGS_AMBA = uapi::VFIO_DEVICE_FLAGS_AMBA,
        VFIO_DEVICE_FLAGS_CDX = uapi::VFIO_DEVICE_FLAGS_CDX,
        VFIO_DEVICE_FLAGS_CAPS = uapi::VFIO_DEVICE_FLAGS_CAPS,
        VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP = uapi::VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
        VFIO_REGION_INFO_FLAG_READ = uapi::VFIO_REGION_INFO_FLAG_READ,
        VFIO_REGION_INFO_FLAG_WRITE = uapi::VFIO_REGION_INFO_FLAG_WRITE,
        VFIO_REGION_INFO_FLAG_MMAP = uapi::VFIO_REGION_INFO_FLAG_MMAP,
        VFIO_REGION_INFO_FLAG_CAPS = uapi::VFIO_REGION_INFO_FLAG_CAPS,
        VFIO_REGION_INFO_CAP_SPARSE_MMAP = uapi::VFIO_REGION_INFO_CAP_SPARSE_MMAP,
        VFIO_REGION_INFO_CAP_TYPE = uapi::VFIO_REGION_INFO_CAP_TYPE,
        VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = uapi::VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
        VFIO_IRQ_INFO_EVENTFD = uapi::VFIO_IRQ_INFO_EVENTFD,
        VFIO_IRQ_INFO_MASKABLE = uapi::VFIO_IRQ_INFO_MASKABLE,
        VFIO_IRQ_INFO_AUTOMASKED = uapi::VFIO_IRQ_INFO_AUTOMASKED,
        VFIO_IRQ_INFO_NORESIZE = uapi::VFIO_IRQ_INFO_NORESIZE,
        VFIO_IRQ_SET_DATA_NONE = uapi::VFIO_IRQ_SET_DATA_NONE,
        VFIO_IRQ_SET_DATA_EVENTFD = uapi::VFIO_IRQ_SET_DATA_EVENTFD,
        VFIO_IRQ_SET_ACTION_MASK = uapi::VFIO_IRQ_SET_ACTION_MASK,
        VFIO_IRQ_SET_ACTION_UNMASK = uapi::VFIO_IRQ_SET_ACTION_UNMASK,
        VFIO_IRQ_SET_ACTION_TRIGGER = uapi::VFIO_IRQ_SET_ACTION_TRIGGER,
        VFIO_PCI_INTX_IRQ_INDEX = uapi::VFIO_PCI_INTX_IRQ_INDEX,
        VFIO_PCI_MSI_IRQ_INDEX = uapi::VFIO_PCI_MSI_IRQ_INDEX,
        VFIO_PCI_MSIX_IRQ_INDEX = uapi::VFIO_PCI_MSIX_IRQ_INDEX,
        VFIO_PCI_ERR_IRQ_INDEX = uapi::VFIO_PCI_ERR_IRQ_INDEX,
        VFIO_PCI_REQ_IRQ_INDEX = uapi::VFIO_PCI_REQ_IRQ_INDEX,
        VFIO_PCI_CONFIG_REGION_INDEX = uapi::VFIO_PCI_CONFIG_REGION_INDEX,
        VFIO_PCI_HOT_RESET_FLAG_DEV_ID = uapi::VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
        VFIO_DEVICE_FEATURE_GET = uapi::VFIO_DEVICE_FEATURE_GET,
        VFIO_DEVICE_FEATURE_SET = uapi::VFIO_DEVICE_FEATURE_SET,
        VFIO_DEVICE_FEATURE_PROBE = uapi::VFIO_DEVICE_FEATURE_PROBE,
        VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = uapi::VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
        VFIO_DEVICE_FEATURE_MIGRATION = uapi::VFIO_DEVICE_FEATURE_MIGRATION,
        VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = uapi::VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
        VFIO_DEVICE_FEATURE_DMA_LOGGING_START = uapi::VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
        VFIO_DEVICE_FEATURE_BUS_MASTER = uapi::VFIO_DEVICE_FEATURE_BUS_MASTER,
        VFIO_DEVICE_FEATURE_DMA_BUF = uapi::VFIO_DEVICE_FEATURE_DMA_BUF,
        VFIO_IOMMU_INFO_CAPS = uapi::VFIO_IOMMU_INFO_CAPS,
        VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = uapi::VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
        VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = uapi::VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
        VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = uapi::VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
        VFIO_DMA_MAP_FLAG_READ = uapi::VFIO_DMA_MAP_FLAG_READ,
        VFIO_DMA_MAP_FLAG_WRITE = uapi::VFIO_DMA_MAP_FLAG_WRITE,
        VFIO_DMA_UNMAP_FLAG_ALL = uapi::VFIO_DMA_UNMAP_FLAG_ALL,
        VFIO_IOMMU_DIRTY_PAGES_FLAG_START = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
        VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
        VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = uapi::VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
        VFIO_GET_API_VERSION = number(0),
        VFIO_CHECK_EXTENSION = number(1),
        VFIO_SET_IOMMU = number(2),
        VFIO_GROUP_GET_STATUS = number(3),
        VFIO_GROUP_SET_CONTAINER = number(4),
        VFIO_GROUP_UNSET_CONTAINER = number(5),
        VFIO_GROUP_GET_DEVICE_FD = number(6),
        VFIO_DEVICE_GET_INFO = number(7),
        VFIO_DEVICE_GET_REGION_INFO = number(8),
        VFIO_DEVICE_GET_IRQ_INFO = number(9),
        VFIO_DEVICE_SET_IRQS = number(10),
        VFIO_DEVICE_RESET = number(11),
        VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = number(12),
        VFIO_DEVICE_PCI_HOT_RESET = number(13),
        VFIO_IOMMU_GET_INFO = number(12),
        VFIO_IOMMU_MAP_DMA = number(13),
        VFIO_IOMMU_UNMAP_DMA = number(14),
        VFIO_IOMMU_DIRTY_PAGES = number(17),
        VFIO_DEVICE_FEATURE = number(17),
        VFIO_DEVICE_BIND_IOMMUFD = number(18),
        VFIO_DEVICE_ATTACH_IOMMUFD_PT = number(19),
        VFIO_DEVICE_DETACH_IOMMUFD_PT = number(20),
    })
}

fn kvm() -> Table {
    use kvm_bindings::*;
    table!("linux/kvm.h", {
        kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size, userspace_addr }
        kvm_irqfd { fd, gsi, flags, resamplefd }
        kvm_irq_routing { nr, flags, entries }
        kvm_irq_routing_entry {
            gsi, type_ as "type", flags, u.irqchip as "u.irqchip", u.msi as "u.msi"
        }
        kvm_irq_routing_irqchip { irqchip, pin }
        kvm_irq_routing_msi { address_lo, address_hi, data }
        kvm_msi { address_lo, address_hi, data, flags, devid }
        kvm_create_device { type_ as "type", fd, flags }
        kvm_device_attr { flags, group, attr, addr }
        kvm_mp_state { mp_state }
    }, {
        KVM_MEM_READONLY = kvm_bindings::KVM_MEM_READONLY,
        KVM_IRQFD_FLAG_DEASSIGN = kvm_bindings::KVM_IRQFD_FLAG_DEASSIGN,
        KVM_IRQFD_FLAG_RESAMPLE = kvm_bindings::KVM_IRQFD_FLAG_RESAMPLE,
        KVM_IRQ_ROUTING_IRQCHIP = kvm_bindings::KVM_IRQ_ROUTING_IRQCHIP,
        KVM_IRQ_ROUTING_MSI = kvm_bindings::KVM_IRQ_ROUTING_MSI,
        KVM_DEV_TYPE_VFIO = kvm_bindings::kvm_device_type_KVM_DEV_TYPE_VFIO,
        KVM_DEV_VFIO_FILE = kvm_bindings::KVM_DEV_VFIO_FILE,
        KVM_DEV_VFIO_FILE_ADD = kvm_bindings::KVM_DEV_VFIO_FILE_ADD,
        KVM_DEV_VFIO_FILE_DEL = kvm_bindings::KVM_DEV_VFIO_FILE_DEL,
    })
}

fn udmabuf() -> Table {
    /// `_IOW(type, number, size)`.
    const fn write(kind: u8, number: u32, size: u32) -> u32 {
        1 << 30 | size << 16 | (kind as u32) << 8 | number
    }
    let entries = [
        // src/memory/udmabuf.rs composes these of words: flags and count, then descriptor and padding, offset, size.
        ("sizeof(struct udmabuf_create_list)", 8),
        ("offsetof(struct udmabuf_create_list, flags)", 0),
        ("offsetof(struct udmabuf_create_list, count)", 4),
        ("offsetof(struct udmabuf_create_list, list)", 8),
        ("sizeof(struct udmabuf_create_item)", 24),
        ("offsetof(struct udmabuf_create_item, memfd)", 0),
        ("offsetof(struct udmabuf_create_item, offset)", 8),
        ("offsetof(struct udmabuf_create_item, size)", 16),
        ("UDMABUF_FLAGS_CLOEXEC", 1),
        ("UDMABUF_CREATE_LIST", write(b'u', 0x43, 8)),
    ];
    let entries = entries.into_iter().map(|(name, number)| (name.to_string(), u64::from(number))).collect();
    Table { header: "linux/udmabuf.h", entries }
}

/// The C program that prints what the headers say.
fn program(table: &Table) -> String {
    let mut text = String::from("#include <stddef.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n");
    writeln!(text, "#include <{}>\nint main(void) {{", table.header).unwrap();
    for (index, (name, _)) in table.entries.iter().enumerate() {
        // A flag of the highest bit is a negative int: all numbers of 32 bits are compared without a sign.
        writeln!(text, "  printf(\"{index} %llu\\n\", (unsigned long long)(unsigned int)({name}));").unwrap();
    }
    text + "  return 0;\n}\n"
}

/// What the headers say, by the entry's index.
fn ask(headers: &Path, table: &Table) -> BTreeMap<usize, u64> {
    let folder = tempfile::tempdir().unwrap();
    let (source, binary) = (folder.path().join("numbers.c"), folder.path().join("numbers"));
    fs::write(&source, program(table)).unwrap();
    // The kernel's headers come before those of the system.
    let compiled = Command::new("cc").arg("-I").arg(headers).arg(&source).arg("-o").arg(&binary).output();
    let compiled = compiled.expect("a C compiler, as `cc`");
    assert!(compiled.status.success(), "{}: {}", table.header, String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(&binary).output().unwrap();
    assert!(output.status.success(), "{}: {}", table.header, output.status);
    let number = |line: &str| {
        let (index, number) = line.split_once(' ')?;
        Some((index.parse().ok()?, number.parse().ok()?))
    };
    String::from_utf8(output.stdout).unwrap().lines().map(|line| number(line).expect("two numbers")).collect()
}

/// What differs, in words.
fn differences(headers: &Path, table: &Table) -> Vec<String> {
    let answers = ask(headers, table);
    assert_eq!(answers.len(), table.entries.len(), "{}: an answer for each", table.header);
    let differ = |(index, (name, rust)): (usize, &(String, u64))| {
        let kernel = answers[&index];
        (kernel != *rust).then(|| format!("{name}: {kernel:#x} in {}, {rust:#x} here", table.header))
    };
    table.entries.iter().enumerate().filter_map(differ).collect()
}

fn headers() -> std::path::PathBuf {
    let folder = env::var_os("VCM_KERNEL_HEADERS").expect(
        "VCM_KERNEL_HEADERS names the folder of the kernel's headers (usr/include after `make headers`)",
    );
    let folder = std::path::PathBuf::from(folder);
    assert!(folder.join("linux/iommufd.h").is_file(), "{} has no linux/iommufd.h", folder.display());
    folder
}

#[test]
#[ignore = "needs the kernel's headers: cargo xtask vm"]
fn structures_and_numbers_are_those_of_the_kernels_headers() {
    let headers = headers();
    let tables = [iommufd(), vfio(), kvm(), udmabuf()];
    let found: Vec<String> = tables.iter().flat_map(|table| differences(&headers, table)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The comparison itself notices a difference.
#[test]
#[ignore = "needs the kernel's headers: cargo xtask vm"]
fn a_number_that_is_wrong_is_found() {
    let headers = headers();
    let mut table = iommufd();
    table.entries[3].1 += 1;
    let found = differences(&headers, &table);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&table.entries[3].0), "{found:?}");
}
