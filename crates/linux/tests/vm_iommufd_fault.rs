//! Page faults that devices wait in.

mod vm_iommufd_support;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::time::Duration;
use vcm::Access;
use vcm_linux::iommufd::mock::{Abilities, MockDevice};
use vcm_linux::iommufd::{DirtyTracking, FaultAnswer, FaultPermissions, FaultQueue, Hwpt, HwptRequest, Ioas};
use vm_iommufd_support::*;

fn with_faults(queue: &FaultQueue) -> HwptRequest<'_> {
    HwptRequest { dirty_tracking: DirtyTracking::Off, faults: Some(queue) }
}

const SOON: Duration = Duration::from_secs(10);

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_fault_is_told_and_answered_once() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let queue = FaultQueue::new(ioas.iommufd()).unwrap();
    let mut device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let table = Hwpt::new(&ioas, device.device(), &with_faults(&queue)).unwrap();
    device.replace_with_table(&table).unwrap();
    assert!(queue.take().unwrap().is_empty());
    assert!(!queue.wait(Duration::from_millis(1)).unwrap());

    let address = START + 5 * PAGE;
    device.fault(None, 7, Access::READ_WRITE, address).unwrap();
    assert!(queue.wait(SOON).unwrap());
    let mut waiting = [PollFd::new(&queue, PollFlags::IN)];
    assert_eq!(poll(&mut waiting, Some(&Timespec::default())).unwrap(), 1, "the descriptor says so too");
    let mut groups = queue.take().unwrap();
    assert_eq!(groups.len(), 1);
    let group = groups.remove(0);
    assert_eq!((group.index, group.faults.len()), (7, 1));
    let fault = group.faults[0];
    assert_eq!((fault.device, fault.address, fault.pasid), (device.device(), address, None));
    assert_eq!(fault.permissions, FaultPermissions::READ | FaultPermissions::WRITE);
    assert!(queue.take().unwrap().is_empty(), "it is told once");
    queue.answer(group, FaultAnswer::Retry).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn several_faults_are_answered_in_any_order() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let queue = FaultQueue::new(ioas.iommufd()).unwrap();
    let mut device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let table = Hwpt::new(&ioas, device.device(), &with_faults(&queue)).unwrap();
    device.replace_with_table(&table).unwrap();
    let mut groups = Vec::new();
    for index in 0..100 {
        device.fault(None, index, Access::WRITE, START + u64::from(index) * PAGE).unwrap();
    }
    while groups.len() < 100 {
        assert!(queue.wait(SOON).unwrap(), "{} of 100 came", groups.len());
        groups.extend(queue.take().unwrap());
    }
    groups.sort_by_key(|group| group.index);
    for (index, group) in groups.iter().enumerate() {
        assert_eq!(group.faults[0].address, START + index as u64 * PAGE);
        assert_eq!(group.faults[0].permissions, FaultPermissions::WRITE);
    }
    for group in groups.into_iter().rev() {
        let answer = if group.index % 2 == 0 { FaultAnswer::Invalid } else { FaultAnswer::Retry };
        queue.answer(group, answer).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn nobody_waits_for_an_answer_after_the_device_is_gone() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let queue = FaultQueue::new(ioas.iommufd()).unwrap();
    let mut device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let table = Hwpt::new(&ioas, device.device(), &with_faults(&queue)).unwrap();
    device.replace_with_table(&table).unwrap();
    device.fault(None, 1, Access::READ, START).unwrap();
    device.fault(None, 2, Access::READ, START).unwrap();
    assert!(queue.wait(SOON).unwrap());
    let mut groups = queue.take().unwrap();
    while groups.len() < 2 {
        assert!(queue.wait(SOON).unwrap());
        groups.extend(queue.take().unwrap());
    }
    device.fault(None, 3, Access::READ, START).unwrap();
    device.replace_with(&ioas).unwrap();
    for group in groups {
        let error = queue.answer(group, FaultAnswer::Retry).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL, "{error}");
    }
    assert!(queue.take().unwrap().is_empty());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn everything_is_given_up_in_whatever_order_it_is_dropped() {
    for order in 0..6 {
        let ioas = Ioas::new(&iommufd()).unwrap();
        let iommufd = ioas.iommufd().clone();
        let queue = FaultQueue::new(&iommufd).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        let table = Hwpt::new(&ioas, device.device(), &with_faults(&queue)).unwrap();
        match order {
            0 => drop((ioas, queue, table, device)),
            1 => drop((device, table, queue, ioas)),
            2 => drop((queue, device, ioas, table)),
            3 => drop((table, ioas, queue, device)),
            4 => drop((ioas, device, queue, table)),
            _ => drop((queue, ioas, table, device)),
        }
        assert_eq!(iommufd.not_destroyed(), 0, "order {order}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_still_used_when_it_is_dropped_is_counted() {
    let iommufd = iommufd();
    let queue = FaultQueue::new(&iommufd).unwrap();
    // Somebody else has the queue open: the kernel does not give it up.
    let elsewhere = queue.as_fd().try_clone_to_owned().unwrap();
    drop(queue);
    assert_eq!(iommufd.not_destroyed(), 1);
    drop(elsewhere);
    assert_eq!(iommufd.not_destroyed(), 1, "it goes with the iommufd");
}
