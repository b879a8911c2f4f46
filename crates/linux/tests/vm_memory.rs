//! Huge pages, dma-bufs and physical addresses, which need root and a kernel that has them.
#![allow(unsafe_code, reason = "one mapping is looked at by address")]

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use vcm::{Access, CpuAddress, SIZE_1G, SIZE_2M, Span};
use vcm_linux::Error;
use vcm_linux::memory::{
    CpuSpace, FileKind, Layout, MemoryFile, MemoryPiece, MemoryRequest, MemoryUse, PageKind, Sealing,
    Stitched, Trust, physical_spans, udmabuf,
};

const PAGE: u64 = 4096;
const POOL_2M: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
const POOL_1G: &str = "/sys/kernel/mm/hugepages/hugepages-1048576kB";

fn number(path: &str) -> u64 {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().parse().unwrap()
}

/// Says that this kernel lacks something, which the one that is built for these tests has.
fn lacks(what: &str) {
    assert_ne!(std::env::var("VCM_VM_KERNEL").as_deref(), Ok("built"), "{what}");
    eprintln!("this kernel has no {what}");
}

/// The physical addresses of `memory`, where the kernel tells (CONFIG_PROC_PAGE_MONITOR).
fn physical(memory: &MemoryFile) -> Option<Vec<Span>> {
    if Path::new("/proc/self/pagemap").exists() {
        return Some(physical_spans(memory).unwrap());
    }
    let error = physical_spans(memory).unwrap_err();
    assert!(error.to_string().contains("/proc/self/pagemap is missing"), "{error}");
    eprintln!("this kernel has no /proc/self/pagemap");
    None
}

/// Sets aside `count` huge pages of 2 MiB, and gives as many as there were back in the end.
struct Reserved {
    before: u64,
}

impl Reserved {
    fn new(count: u64) -> Self {
        let path = format!("{POOL_2M}/nr_hugepages");
        let before = number(&path);
        fs::write(&path, count.to_string()).unwrap();
        assert_eq!(number(&path), count);
        Self { before }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let _ = fs::write(format!("{POOL_2M}/nr_hugepages"), self.before.to_string());
    }
}

fn huge(pages: u64) -> Result<MemoryFile, Error> {
    MemoryRequest::new("frames", pages * SIZE_2M).pages(PageKind::Huge2M).create()
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_are_taken_and_given_back() {
    let _reserved = Reserved::new(8);
    let free = || number(&format!("{POOL_2M}/free_hugepages")) - number(&format!("{POOL_2M}/resv_hugepages"));
    assert_eq!(free(), 8);
    let memory = huge(3).unwrap();
    assert_eq!(free(), 5, "from the beginning, not from the first touch on");
    assert_eq!(
        (memory.page_len(), memory.kind(), memory.len()),
        (SIZE_2M, &FileKind::HugePages, 3 * SIZE_2M)
    );
    memory.write(2 * SIZE_2M - 3, b"across").unwrap();
    let mut bytes = [0; 6];
    memory.read(2 * SIZE_2M - 3, &mut bytes).unwrap();
    assert_eq!(&bytes, b"across");
    let mut seen = Vec::new();
    memory.populate(&mut |progress| seen.push(progress.done)).unwrap();
    assert_eq!(seen, [3 * SIZE_2M]);
    assert_eq!(rustix::fs::ftruncate(&memory, SIZE_2M), Err(Errno::PERM));
    drop(memory);
    assert_eq!(free(), 8);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_line_in_the_message_is_the_one_that_helps() {
    let _reserved = Reserved::new(2);
    let held = huge(1).unwrap();
    let error = huge(4).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.errno(), Errno::NOMEM, "{text}");
    assert!(text.contains("it needs 4 huge pages of 2M, and 1 of 2 are free"), "{text}");
    // Done to the letter.
    let line = text.split('`').find(|part| part.starts_with("echo ")).unwrap();
    let (value, path) = line.strip_prefix("echo ").unwrap().split_once(" > ").unwrap();
    fs::write(path, value).unwrap();
    let memory = huge(4).unwrap();
    memory.populate(&mut |_| {}).unwrap();
    drop((held, memory));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_are_backed_at_multiples_of_theirs_only() {
    let _reserved = Reserved::new(8);
    let memory = huge(4).unwrap();
    let small = MemoryFile::new("small", 4 * PAGE).unwrap();
    let mut space = CpuSpace::reserve(8 * SIZE_2M, SIZE_2M).unwrap();
    let first = space.span().first();
    let at = |bytes: u64| CpuAddress::new(first + bytes);
    let page = |index: u64| memory.range(index * SIZE_2M, SIZE_2M).unwrap();
    space.back(at(SIZE_2M), &[page(3), page(0), page(1)], Access::READ_WRITE).unwrap();
    space.write(at(3 * SIZE_2M - 2), b"both").unwrap();
    assert_eq!(memory.load::<u16>(SIZE_2M - 2).unwrap().to_le_bytes(), *b"bo");
    assert_eq!(memory.load::<u16>(SIZE_2M).unwrap().to_le_bytes(), *b"th");
    for result in [
        space.back(at(5 * SIZE_2M + PAGE), &[page(0)], Access::READ),
        space.back(at(5 * SIZE_2M), &[memory.range(PAGE, SIZE_2M).unwrap()], Access::READ),
        space.back(at(5 * SIZE_2M), &[memory.range(0, PAGE).unwrap()], Access::READ),
        // The small part pushes the huge one away from its multiple.
        space.back(at(5 * SIZE_2M), &[small.range(0, PAGE).unwrap(), page(0)], Access::READ),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
        assert!(error.to_string().contains("0x200000"), "{error}");
    }
    space.back(at(5 * SIZE_2M), &[page(2), small.range(0, PAGE).unwrap()], Access::READ).unwrap();
    space.protect(Span::new(at(SIZE_2M).raw(), 3 * SIZE_2M).unwrap(), Access::READ).unwrap();
    assert_eq!(space.write(at(SIZE_2M), b"x").unwrap_err().errno(), Errno::FAULT);
    space.unback(space.span()).unwrap();
    assert_eq!(space.backed().count(), 0);
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let whole = format!("{:x}-{:x} ---p", first, space.span().last() + 1);
    assert!(maps.lines().any(|line| line.starts_with(&whole)), "{maps}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn scattered_huge_pages_are_one_stretch() {
    let _reserved = Reserved::new(6);
    let memory = Arc::new(huge(6).unwrap());
    for page in 0..6_u64 {
        memory.store(page * SIZE_2M, page).unwrap();
    }
    let order = [4, 1, 5, 0];
    let pieces = order.map(|page| MemoryPiece::new(Arc::clone(&memory), page * SIZE_2M, SIZE_2M).unwrap());
    let stitched = Stitched::new(pieces.into()).unwrap();
    assert!((stitched.address().addr().get() as u64).is_multiple_of(SIZE_2M));
    for (place, page) in order.into_iter().enumerate() {
        let mut bytes = [0; 8];
        stitched.read(place as u64 * SIZE_2M, &mut bytes).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), page);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_page_of_a_gigabyte_is_one_window_and_one_frame() {
    let request = MemoryRequest::new("gigabyte", SIZE_1G).pages(PageKind::Huge1G);
    if !Path::new(POOL_1G).exists() {
        let error = request.create().unwrap_err();
        assert!(matches!(error, Error::NotSupported { .. }), "{error}");
        return lacks("pages of 1 GiB");
    }
    if number(&format!("{POOL_1G}/free_hugepages")) == 0 {
        let error = request.create().unwrap_err();
        assert!(error.to_string().contains("hugepagesz=1G hugepages="), "{error}");
        return lacks("page of 1 GiB set aside");
    }
    let memory = Arc::new(request.create().unwrap());
    assert_eq!(memory.page_len(), SIZE_1G);
    let mut layout = Layout::default();
    assert!(layout.add(Arc::clone(&memory)).unwrap().first().is_multiple_of(SIZE_1G));
    if let Some(spans) = physical(&memory) {
        assert_eq!(spans.len(), 1);
        assert!(spans[0].is_aligned(SIZE_1G) && spans[0].len() == u128::from(SIZE_1G), "{spans:?}");
    }
    memory.store(SIZE_1G - 8, 5_u64).unwrap();
    let mut space = CpuSpace::reserve(SIZE_1G, SIZE_1G).unwrap();
    let at = CpuAddress::new(space.span().first());
    space.back(at, &[memory.range(0, SIZE_1G).unwrap()], Access::READ).unwrap();
    let mut bytes = [0; 8];
    space.read(CpuAddress::new(space.span().last() - 7), &mut bytes).unwrap();
    assert_eq!(bytes, [5, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn physical_addresses_are_those_of_the_memory() {
    let _reserved = Reserved::new(6);
    let memory = huge(4).unwrap();
    let Some(spans) = physical(&memory) else { return };
    assert_eq!(spans.len(), 4);
    for (index, span) in spans.iter().enumerate() {
        assert!(span.is_aligned(SIZE_2M) && span.len() == u128::from(SIZE_2M), "{span}");
        assert!(spans[..index].iter().all(|other| !other.overlaps(*span)), "{spans:?}");
    }
    // They are memory, as the kernel lists it.
    let ram: Vec<Span> = fs::read_to_string("/proc/iomem")
        .unwrap()
        .lines()
        .filter(|line| line.ends_with(": System RAM"))
        .map(|line| {
            let (first, last) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            Span::inclusive(number(first), number(last)).unwrap()
        })
        .collect();
    assert!(spans.iter().all(|span| ram.iter().any(|ram| ram.covers(*span))), "{spans:?} in {ram:?}");
    // A second mapping of the same pages is at the same place; the frames of another memory are others.
    let copy = rustix::fd::AsFd::as_fd(&memory).try_clone_to_owned().unwrap();
    let again = MemoryFile::wrap("again", copy, Trust::Kernel).unwrap();
    assert_eq!(physical_spans(&again).unwrap(), spans);
    let other = physical_spans(&huge(2).unwrap()).unwrap();
    assert!(other.iter().all(|span| !spans.contains(span)), "{other:?}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn without_the_capability_physical_addresses_are_hidden() {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let _reserved = Reserved::new(2);
    let memory = huge(1).unwrap();
    let Some(spans) = physical(&memory) else { return };
    // Capabilities are a thread's own.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let all = capabilities(None).unwrap();
            let some = all.effective - CapabilitySet::SYS_ADMIN;
            set_capabilities(None, CapabilitySets { effective: some, ..all }).unwrap();
            let error = physical_spans(&memory).unwrap_err();
            assert_eq!(error.errno(), Errno::PERM);
            assert!(error.to_string().contains("CAP_SYS_ADMIN"), "{error}");
        });
    });
    assert_eq!(physical_spans(&memory).unwrap(), spans);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_file_of_a_hugetlbfs_is_wrapped_when_its_holders_are_trusted() {
    let _reserved = Reserved::new(4);
    let folder = "/tmp/vcm-hugetlbfs";
    fs::create_dir_all(folder).unwrap();
    mount(folder);
    let file = open(
        format!("{folder}/file"),
        OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )
    .unwrap();
    // Whatever becomes of this test, nothing is left of them when it has ended.
    fs::remove_file(format!("{folder}/file")).unwrap();
    rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH).unwrap();
    rustix::fs::ftruncate(&file, 2 * SIZE_2M).unwrap();
    let copy = file.try_clone().unwrap();
    let error = MemoryFile::wrap("file", copy, Trust::Kernel).unwrap_err();
    assert!(error.to_string().contains("huge pages: it can become shorter"), "{error}");
    let memory = MemoryFile::wrap("file", file, Trust::Holders).unwrap();
    assert_eq!((memory.page_len(), memory.len()), (SIZE_2M, 2 * SIZE_2M));
    memory.write(SIZE_2M, b"x").unwrap();
    if let Some(spans) = physical(&memory) {
        assert_eq!(spans.len(), 2);
    }
    assert!(memory.supports(MemoryUse::DmaByFile).is_ok());
}

fn mount(folder: &str) {
    use rustix::mount::{MountFlags, mount};
    mount("none", folder, "hugetlbfs", MountFlags::empty(), Some(c"pagesize=2M")).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn transparent_huge_pages_come_when_the_knob_permits() {
    let knob = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let before = fs::read_to_string(knob).unwrap();
    let before =
        before.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap();
    let request = || MemoryRequest::new("transparent", 8 * SIZE_2M).pages(PageKind::TransparentHuge);
    fs::write(knob, "never").unwrap();
    let refused = request().create();
    fs::write(knob, "advise").unwrap();
    let memory = request().create();
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("shmem_enabled is `never`: `echo advise > "), "{text}");
    let memory = memory.unwrap();
    let huge = || -> u64 {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("ShmemHugePages:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let already = huge();
    memory.populate(&mut |_| {}).unwrap();
    fs::write(knob, before).unwrap();
    assert_eq!(huge() - already, 16384, "KiB");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn memory_is_exported_as_a_dma_buf() {
    let memory = Arc::new(MemoryFile::new("memory", 8 * PAGE).unwrap());
    if !Path::new("/dev/udmabuf").exists() {
        let error = udmabuf::export(&[memory.range(0, PAGE).unwrap()]).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        return lacks("udmabuf");
    }
    // Two parts, in another order than in the file.
    let parts = [memory.range(4 * PAGE, 2 * PAGE).unwrap(), memory.range(0, PAGE).unwrap()];
    let buffer = udmabuf::export(&parts).unwrap();
    assert_eq!(buffer.len(), 3 * PAGE);
    let view = buffer.map().unwrap();
    assert_eq!(view.len(), 3 * PAGE);
    assert_eq!(*view.kind(), FileKind::DmaBuf { exporter: "udmabuf".into() });
    memory.write(4 * PAGE, b"first").unwrap();
    memory.write(5, b"third").unwrap();
    let mut bytes = [0; 5];
    {
        let _access = buffer.begin_cpu_access(Access::READ).unwrap();
        view.read(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"first");
        view.read(2 * PAGE + 5, &mut bytes).unwrap();
        assert_eq!(&bytes, b"third");
    }
    {
        let _access = buffer.begin_cpu_access(Access::READ_WRITE).unwrap();
        view.write(PAGE, b"second").unwrap();
    }
    memory.read(5 * PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"secon");
    assert!(buffer.begin_cpu_access(Access::EXECUTE).is_err());
    view.populate(&mut |_| {}).unwrap();
    // Neither DMA by us nor a second export; a guest may have it.
    for wanted in [MemoryUse::DmaByAddress, MemoryUse::DmaByFile, MemoryUse::Udmabuf] {
        assert!(matches!(view.supports(wanted), Err(Error::NotSupported { .. })), "{wanted:?}");
    }
    view.supports(MemoryUse::GuestSlot).unwrap();
    assert!(matches!(udmabuf::export(&[view.range(0, PAGE).unwrap()]), Err(Error::NotSupported { .. })));
    // The pages stay, whoever forgets the memory.
    drop(memory);
    view.read(PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"secon");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_udmabuf_would_refuse_is_said() {
    let memory = MemoryFile::new("memory", 4 * PAGE).unwrap();
    let sealed = MemoryRequest::new("sealed", PAGE).sealing(Sealing::SizeAndNewWriters).create().unwrap();
    let text = |result: Result<_, Error>| result.map(drop).unwrap_err().to_string();
    assert!(text(udmabuf::export(&[])).contains("nothing to export"));
    assert!(text(udmabuf::export(&[memory.range(0, 100).unwrap()])).contains("whole pages"));
    assert!(text(udmabuf::export(&[sealed.range(0, PAGE).unwrap()])).contains("not against writing"));
    let Ok(limit) = fs::read_to_string("/sys/module/udmabuf/parameters/size_limit_mb") else {
        assert!(!Path::new("/dev/udmabuf").exists());
        return lacks("udmabuf");
    };
    let before = limit;
    // Newer kernels come with a limit that no machine's memory reaches.
    fs::write("/sys/module/udmabuf/parameters/size_limit_mb", "64").unwrap();
    let limit = 64_u64;
    let large = MemoryFile::new("large", (limit + 1) << 20).unwrap();
    let message = text(udmabuf::export(&[large.range(0, large.len()).unwrap()]));
    fs::write("/sys/module/udmabuf/parameters/size_limit_mb", before.trim()).unwrap();
    let line = format!("`echo {} > /sys/module/udmabuf/parameters/size_limit_mb`", limit + 1);
    assert!(message.contains(&line), "{message}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_are_exported_where_the_kernel_can() {
    let _reserved = Reserved::new(4);
    let memory = huge(2).unwrap();
    memory.populate(&mut |_| {}).unwrap();
    if !Path::new("/dev/udmabuf").exists() {
        return lacks("udmabuf");
    }
    match udmabuf::export(&[memory.range(SIZE_2M, SIZE_2M).unwrap()]) {
        Ok(buffer) => {
            let view = buffer.map().unwrap();
            memory.write(SIZE_2M + 9, b"huge").unwrap();
            let mut bytes = [0; 4];
            view.read(9, &mut bytes).unwrap();
            assert_eq!(&bytes, b"huge");
        }
        // Between 5.16 and 6.8 udmabuf did not take them.
        Err(error) => assert!(matches!(error.errno(), Errno::BADFD | Errno::INVAL | Errno::NOSYS), "{error}"),
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_buffer_of_a_dma_heap_is_wrapped() {
    let path = "/dev/dma_heap/system";
    if !Path::new(path).exists() {
        return lacks("heap of dma-bufs");
    }
    /// `struct dma_heap_allocation_data` of include/uapi/linux/dma-heap.h
    #[repr(C)]
    struct Allocation {
        len: u64,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
    }
    let heap = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mut allocation = Allocation { len: 3 * PAGE, fd: 0, fd_flags: flags.bits(), heap_flags: 0 };
    // DMA_HEAP_IOCTL_ALLOC
    const ALLOC: rustix::ioctl::Opcode = rustix::ioctl::opcode::read_write::<Allocation>(b'H', 0);
    // SAFETY: the call takes this structure.
    unsafe {
        let call = rustix::ioctl::Updater::<ALLOC, Allocation>::new(&mut allocation);
        rustix::ioctl::ioctl(&heap, call).unwrap();
    }
    // SAFETY: the call gives a descriptor of the caller's own.
    let buffer = unsafe { <rustix::fd::OwnedFd as rustix::fd::FromRawFd>::from_raw_fd(allocation.fd as i32) };
    let memory = MemoryFile::wrap("heap", buffer, Trust::Kernel).unwrap();
    assert_eq!((memory.len(), memory.kind()), (3 * PAGE, &FileKind::DmaBuf { exporter: "system".into() }));
    memory.write(2 * PAGE, b"heap").unwrap();
    assert!(
        memory.supports(MemoryUse::DmaByFile).is_err() && memory.supports(MemoryUse::DmaByAddress).is_err()
    );
}
