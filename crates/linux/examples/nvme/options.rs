//! What the program is told.

use crate::{Outcome, PAGE, QUEUE};
use vcm_devices::NvmeConfig;
use vcm_linux::memory::PageKind;
use vcm_linux::platform::Interface;

const USAGE: &str = "\
usage: nvme --overwrite [--device 0000:00:06.0] [--type1] [--queues 4] [--huge-pages] [--size 64M] [--compare /dev/nvme1n1]

  --overwrite    the first bytes of the disks may be lost: without this nothing is done
  --device       the controller, as sysfs calls it; the kernel's driver has it again afterwards
  --type1        by its group and a type1 container, also where iommufd is to be had
  --queues       with 1 queue, with 2, and so on, in powers of two, to so many
  --huge-pages   the buffer is made of huge pages of 2 MiB
  --size         of the buffer, and of what is written and read; K, M and G are understood
  --compare      a disk of the kernel's driver, for the same through that";

/// What is to be done.
pub(crate) struct Options {
    pub(crate) device: String,
    pub(crate) interface: Interface,
    pub(crate) queues: u16,
    pub(crate) pages: PageKind,
    pub(crate) size: u64,
    pub(crate) compare: Option<String>,
}

impl Options {
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Outcome<Self> {
        let (device, pages) = ("0000:00:06.0".to_owned(), PageKind::Ordinary);
        let (interface, size) = (Interface::Any, 64 << 20);
        let mut options = Self { device, interface, queues: 4, pages, size, compare: None };
        let mut overwrite = false;
        while let Some(option) = given.next() {
            let mut value = || given.next().ok_or(format!("{option} needs a value\n{USAGE}"));
            match option.as_str() {
                "--overwrite" => overwrite = true,
                "--huge-pages" => options.pages = PageKind::Huge2M,
                "--type1" => options.interface = Interface::Container,
                "--device" => options.device = value()?,
                "--compare" => options.compare = Some(value()?),
                "--queues" => options.queues = value()?.parse()?,
                "--size" => options.size = bytes(&value()?)?,
                _ => return Err(format!("what is {option}?\n{USAGE}").into()),
            }
        }
        if !overwrite {
            return Err(format!("the disk would be overwritten, which --overwrite allows\n{USAGE}").into());
        }
        if options.queues == 0 || options.size / PAGE < options.queues.into() {
            return Err(
                format!("every queue needs a page of the buffer, and one queue is needed\n{USAGE}").into()
            );
        }
        Ok(options)
    }

    /// The pages of the driver: the controller's, and each queue's.
    pub(crate) fn own_pages(&self) -> usize {
        NvmeConfig::PAGES + usize::from(self.queues) * QUEUE.pages(PAGE)
    }
}

/// `64M` and the like, in whole pages.
fn bytes(text: &str) -> Outcome<u64> {
    let shift = match text.as_bytes().last() {
        Some(b'K') => 10,
        Some(b'M') => 20,
        Some(b'G') => 30,
        _ => 0,
    };
    let number: u64 = text.trim_end_matches(['K', 'M', 'G']).parse()?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| bytes.is_multiple_of(PAGE) && *bytes > 0);
    Ok(bytes.ok_or(format!("{text} is no number of whole pages"))?)
}
