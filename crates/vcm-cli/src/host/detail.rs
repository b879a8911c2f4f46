//! One device, with all that is known of it.

use super::devices::{former, tone};
use super::table::{Table, Tone, paint};
use crate::output::Style;
use vcm_linux::host::{Bar, BarKind, Device, Group, Holder, Note};

pub(super) fn text(device: &Device, note: Option<&Note>, holders: &[Holder], style: Style) -> String {
    let assignable = device.assignable();
    let mut table = Table::default();
    let mut line =
        |tone, title: &str, text: String| table.row(vec![(Tone::Plain, title.into()), (tone, text)]);
    let plain = Tone::Plain;
    line(tone(assignable), "assignable", assignable.to_string());
    for obstacle in &device.obstacles {
        line(tone(obstacle.leaves()), "", obstacle.to_string());
        if let Some(help) = obstacle.help() {
            line(plain, "", format!("-> {help}"));
        }
    }
    line(plain, "driver", device.driver.clone().unwrap_or_else(|| "none".into()));
    if let Some(only) = &device.driver_override {
        line(plain, "only driver", format!("{only} (driver_override)"));
    }
    if let Some(note) = note {
        line(plain, "", former(note));
        if let Some(damage) = &note.damage {
            line(Tone::Care, "", format!("the note of it is damaged: {damage}"));
        }
        line(plain, "", format!("-> vcm devices --restore {}", device.name));
    }
    if let Some(identity) = device.identity {
        let ids = format!("{:04x}:{:04x}", identity.vendor, identity.device);
        line(
            plain,
            "PCI",
            format!("{ids}, class {:06x}, revision {:02x}", identity.class, identity.revision),
        );
    }
    if let Some(node) = device.numa_node {
        line(plain, "NUMA node", node.to_string());
    }
    for (position, bar) in device.bars.iter().enumerate() {
        line(plain, if position == 0 { "BARs" } else { "" }, describe(bar));
    }
    if let Some(group) = &device.group {
        of_group(device, group, &mut line);
    }
    let mut nodes: Vec<String> = device.vfio_node.iter().cloned().collect();
    nodes.extend(device.group.as_ref().filter(|_| device.is_bound_to_vfio()).map(Group::node));
    for (position, node) in nodes.into_iter().enumerate() {
        line(plain, if position == 0 { "VFIO nodes" } else { "" }, node);
    }
    for (position, holder) in holders.iter().enumerate() {
        line(Tone::Care, if position == 0 { "held" } else { "" }, holder.to_string());
    }
    let title = format!("{}  {}", device.name, device.about);
    format!("{}\n{}", paint(style, Tone::Title, &title), table.render(style, 0))
}

fn of_group(device: &Device, group: &Group, line: &mut impl FnMut(Tone, &str, String)) {
    let plain = Tone::Plain;
    let domain = group
        .domain
        .as_ref()
        .map_or_else(String::new, |it| format!(", {it} domain for the kernel's drivers"));
    let alone = if group.members.len() == 1 { ", this device alone" } else { "" };
    line(plain, "IOMMU group", format!("{}{domain}{alone}", group.number));
    for member in group.members.iter().filter(|member| member.name != device.name.name()) {
        let kind = if member.bridge { ", a bridge" } else { "" };
        let driver = member.driver.as_deref().unwrap_or("no driver");
        line(plain, "", format!("with {}, {driver}{kind}", member.name));
    }
    match group.windows(device.address_bits) {
        Some(windows) => {
            for (position, window) in windows.iter().enumerate() {
                line(plain, if position == 0 { "IOVA windows" } else { "" }, window.to_string());
            }
            match device.address_bits {
                Some(bits) => {
                    line(Tone::Faint, "", format!("the IOMMU translates {bits} bits of an address"))
                }
                None => line(
                    Tone::Faint,
                    "",
                    "the IOMMU may translate fewer bits: known when it is attached".into(),
                ),
            }
        }
        None => line(Tone::Care, "IOVA windows", "unknown".into()),
    }
    for (position, region) in group.reserved.iter().flatten().enumerate() {
        line(plain, if position == 0 { "reserved" } else { "" }, region.to_string());
    }
}

fn describe(bar: &Bar) -> String {
    let kind = match bar.kind {
        BarKind::Port => "I/O ports",
        BarKind::Memory32 => "memory, 32 bits",
        BarKind::Memory64 => "memory, 64 bits",
    };
    let ahead = if bar.prefetchable { ", prefetchable" } else { "" };
    let len = match bar.len {
        len if len >= 1 << 30 && len.is_multiple_of(1 << 30) => format!("{}G", len >> 30),
        len if len >= 1 << 20 && len.is_multiple_of(1 << 20) => format!("{}M", len >> 20),
        len if len >= 1 << 10 && len.is_multiple_of(1 << 10) => format!("{}K", len >> 10),
        len => len.to_string(),
    };
    format!("{}: {len}, {kind}{ahead}", bar.index)
}
