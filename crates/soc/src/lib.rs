//! A simulated system on chip at register level: MSM SMMUs, a GIC, memories, processors, bus masters and guests.
//!
//! [`Soc`] is a machine as [`vcm_platform::Platform`] offers it: the real drivers and the real page tables run on it,
//! down to registers and to words in memory, and bus masters move real bytes through what they programmed.
//!
//! ```
//! use vcm::{Attributes, CpuAddress, Hardware, Part, PhysicalAddress, Segment, Segments};
//! use vcm_platform::topology::{Topology, shipped};
//! use vcm_platform::{Event, Layout, Outcome, Platform, Surface, Transfer, pattern};
//! use vcm_soc::Soc;
//! use vcm_soc::hardware::Options;
//!
//! let topology = Topology::from_device_tree(shipped("msm8x60").unwrap())?;
//! let mut soc = Soc::new(&topology, &Options::default())?;
//!
//! // One page of memory, in the decoder's space and in the CPU's.
//! let page = [Segment { base: PhysicalAddress::new(soc.memories()[0].span.first()), len: 0x1000 }];
//! let cpu_address = soc.cpu_span().first();
//! let mut decoder = None;
//! for (name, at) in [("vcodec_a_mm1", 0x1000_0000), ("cpu", cpu_address)] {
//!     let device = soc.devices().iter().find(|device| device.name == name).unwrap().clone();
//!     let format = soc.format(device.handle, Part::Whole)?;
//!     let space = soc.create_space(device.kind, format, format.addresses)?;
//!     soc.map(space, at, Segments::new(&page, 0, 0x1000), Attributes::READ_WRITE)?;
//!     soc.attach(space, device.handle, Part::Whole)?;
//!     decoder.get_or_insert(device.handle);
//! }
//!
//! // The decoder writes, and the CPU sees it.
//! let to = Surface { address: 0x1000_0000, layout: Layout::Linear { len: 0x1000 } };
//! soc.start(decoder.unwrap(), &Transfer::Write { to, seed: 1 }, vcm::Privilege::User)?;
//! while let Some(event) = soc.next_event()? {
//!     if let Event::Completed { report, .. } = event {
//!         assert_eq!(report.outcome, Outcome::Completed);
//!     }
//! }
//! let mut bytes = [0; 16];
//! soc.cpu_read(CpuAddress::new(cpu_address), &mut bytes)?;
//! assert_eq!(bytes[3], pattern(1, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The hardware
//! [`hardware`] is the machine as a board would be, and knows neither drivers nor the graph. It has its own register
//! constants and its own walkers, so that a slip of the driver or of the page tables is not made twice. What is not
//! publicly known of the SMMU, and what is assumed instead, is said in [`hardware::smmu`].
//!
//! Time passes in transactions: a master makes one in each step, and masters take turns. A run is the same each time.
//!
//! # Interrupts and guests
//! SMMUs and bus masters have lines into a GICv2 with virtualization ([`hardware::gic`]). A small hypervisor takes the
//! host's interrupts, and gives those of bus masters to guests, by `vcm-irq`, forwarded or not; what a guest's software
//! does with them is [`hardware::guest`]. All of it is [`vcm_platform::Interrupts`]:
//!
//! ```
//! use vcm_irq::kvm::Mode;
//! use vcm_platform::topology::{Topology, shipped};
//! use vcm_platform::{AssignmentRequest, GuestEnd, GuestRequest, Interrupts, Pace, Quieting, Stage, Way};
//! use vcm_soc::Soc;
//! use vcm_soc::hardware::Options;
//!
//! let topology = Topology::from_device_tree(shipped("apq8064-like").unwrap())?;
//! let mut soc = Soc::new(&topology, &Options::default())?;
//! let line = soc.lines()[0].clone();
//! let guest = soc.start_guest(&GuestRequest {
//!     name: "camera".to_owned(),
//!     vcpus: 2,
//!     quieting: Quieting::BeforeEnd,
//!     end: GuestEnd::Together,
//! })?;
//! let (device, interrupt) = (line.device, line.interrupt);
//! let (given, mode) =
//!     soc.assign(&AssignmentRequest { device, interrupt, guest, gsi: 40, way: Way::Forwarded })?;
//! assert_eq!(mode, Mode::Forwarded);
//! soc.settle()?;
//!
//! // The guest takes ten interrupts. Each costs one exit, and none is a maintenance interrupt.
//! soc.ask(device, interrupt, 10, Pace::Served)?;
//! assert!(soc.run_until(given, Stage::InService)?);
//! soc.settle()?;
//! let counts = soc.counts(given);
//! assert_eq!((counts.delivered, counts.exits, counts.maintenance_exits, counts.lost), (10, 10, 0, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The oracle
//! Every TLB entry remembers its story: which transaction filled it, for whom, and from which table entry.
//! The bus remembers which memory was given back, and when. A transaction that passes through an entry to
//! memory that was given back, or through a stale entry to memory that has another owner since, is an error
//! of the run, told with that story; so is a walk that reads a table that was given back.
//! [`Soc::set_invalidations`] leaves invalidations out, to see that it works. The GIC has an oracle too:
//! whoever breaks the architecture's rules on list registers or ends an interrupt twice is told so by an
//! error of the run.
//!
//! # Failures
//! [`Soc::fail_hardware_at`] lets any single register access or table allocation fail; [`Soc::repair`] brings the
//! hardware back. Whatever is wrong at register level is a fault or an error, never a panic.
#![forbid(unsafe_code)]

pub mod hardware;
mod hypervisor;
mod soc;

pub use hypervisor::HypervisorError;
pub use soc::{SmmuStatistics, Soc, SocError, Statistics};
