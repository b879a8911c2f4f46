//! Judges what the kernel of a virtual machine logged: which lines say that the kernel itself is unwell.

/// The beginning of what `WARN` and lockdep say. In the midst of a message the word means less: "Speculative Return
/// Stack Overflow: WARNING: See ..." is advice.
const WARNING: &str = "WARNING: ";

/// Parts of messages by which a kernel says that something is wrong with itself; that a device touched an address that
/// it may not is no such thing. The words are those of `lib/bug.c`, `kernel/panic.c`,
/// `lib/refcount.c`, `kernel/locking/lockdep.c`, `kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`,
/// `lib/list_debug.c`, `arch/x86/kernel/traps.c` and `mm/page_alloc.c`.
const UNWELL: [&str; 23] = [
    "------------[ cut here ]------------",
    "BUG: ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "refcount_t: ",
    "general protection fault",
    "INFO: task ",
    "INFO: trying to register non-static key",
    "INFO: lockdep",
    "possible recursive locking",
    "possible circular locking",
    "inconsistent lock state",
    "suspicious RCU usage",
    "detected stall",
    "self-detected stall",
    "soft lockup",
    "hard LOCKUP",
    "list_add corruption",
    "list_del corruption",
    "UBSAN: ",
    // An interrupt that is lost or stuck.
    "nobody cared",
    "Disabling IRQ #",
];

/// Messages that contain such words without meaning them.
const WELL: [&str; 1] = [
    // The table of the emulated firmware, not ours and not the kernel's.
    "[Firmware Bug]",
];

/// A message of `/dev/kmsg`, without what stands before it.
pub(crate) fn message(record: &str) -> &str {
    record.split_once(';').map_or(record, |(_, message)| message)
}

/// The message, if it says that the kernel is unwell. What user space wrote into the log is not the kernel's.
pub(crate) fn complaint(record: &str) -> Option<&str> {
    let priority = record.split(',').next().and_then(|number| number.parse::<u32>().ok());
    let from_user_space = priority.is_some_and(|priority| priority >> 3 != 0);
    let message = message(record);
    let unwell = message.starts_with(WARNING) || UNWELL.iter().any(|words| message.contains(words));
    let well = WELL.iter().any(|words| message.contains(words));
    (unwell && !well && !from_user_space).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_unwell_is_heard() {
        let records = [
            "4,812,5301234,-;WARNING: drivers/iommu/iommufd/pages.c:167 at interval_tree+0x1/0x2, CPU#0: vm/99",
            "4,812,5301234,-;WARNING: CPU: 1 PID: 99 at drivers/vfio/vfio_main.c:1 vfio_unregister+0x1/0x2",
            "4,1,2,-;------------[ cut here ]------------",
            "1,1,2,-;BUG: unable to handle page fault for address: ffffffffffffff10",
            "2,1,2,-;kernel BUG at mm/slub.c:1!",
            "4,1,2,-;Oops: Oops: 0002 [#1] SMP NOPTI",
            "4,1,2,-;refcount_t: underflow; use-after-free.",
            "4,1,2,-;WARNING: possible circular locking dependency detected",
            "3,1,2,-;INFO: task vm_vfio:77 blocked for more than 122 seconds.",
            "3,1,2,-;rcu: INFO: rcu_preempt self-detected stall on CPU",
            "0,1,2,-;watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [vm:1]",
        ];
        for record in records {
            assert_eq!(complaint(record), Some(message(record)), "{record}");
        }
    }

    #[test]
    fn a_device_that_is_refused_something_is_no_complaint_of_the_kernel() {
        let records = [
            "3,640,1,-;DMAR: [DMA Write NO_PASID] Request device [00:04.0] fault addr 0x10000 [fault reason 0x05]",
            "4,641,1,-;vfio-pci 0000:00:04.0: Adding kernel taint for vfio-noiommu group on device",
            "6,1,1,-;Kernel command line: console=ttyS0 oops=panic",
            "4,1,1,-;Speculative Return Stack Overflow: WARNING: See https://kernel.org/doc/html/latest for mitigation",
            "3,1,1,-;[Firmware Bug]: BUG: the table is wrong",
            // Facility 1: user space wrote it.
            "12,1,1,-;BUG: said by a program",
        ];
        for record in records {
            assert_eq!(complaint(record), None, "{record}");
        }
    }
}
