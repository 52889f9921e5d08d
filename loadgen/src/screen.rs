//! Reports for people: figures with units, one workload as a screen of text, the tour as a table.

use crate::host::Host;
use crate::report::{CrowdReport, Report};

/// One workload, without a line break at its end.
pub(crate) fn report(report: &Report, rounds: u32) -> String {
    let mut lines = vec![format!(
        "{} {} · {} · {:.1} s in {rounds} rounds",
        report.workload.replace('_', " "),
        size(report.payload_bytes),
        report.mode.name(),
        report.seconds,
    )];
    let mut row = |name: &str, figure: String| lines.push(format!("  {name:<14} {figure}"));
    row(
        "rate",
        format!(
            "{}   {}",
            ours_rate(report),
            byte_rate(report.bytes_per_second)
        ),
    );
    if let Some(latency) = latency(report) {
        row("latency", latency);
    }
    if let (Some(p50), Some(p99)) = (report.p50_from_schedule_ns, report.p99_from_schedule_ns) {
        row(
            "from schedule",
            format!("p50 {}   p99 {}", time(p50 as f64), time(p99 as f64)),
        );
    }
    if let (Some(ratio), Some(floor)) = (report.ratio_to_floor, floor(report)) {
        row("floor", format!("{floor}   ratio {ratio:.2}"));
    }
    if let Some(cpu) = report.cpu_ns_per_message {
        row(
            "cpu",
            format!("{} per message, all processes together", time(cpu)),
        );
    }
    row("per message", overheads(report));
    row("delivery", delivery(report));
    if let Some(crowd) = &report.crowd {
        row("fan-out", fan_out(crowd));
        row("skew", skew(crowd));
    }
    if let (Some(cuts), Some(unacked)) = (report.cuts, report.cuts_unacked) {
        row(
            "cuts",
            format!("{cuts}, with unacknowledged bytes {unacked}"),
        );
    }
    lines.push(host(&report.host));
    lines.join("\n")
}

/// Several workloads, one row each, and the machine they ran on.
pub(crate) fn table(reports: &[Report]) -> String {
    let head = ["workload", "mode", "ours", "floor", "ratio", "cpu/message"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(reports.iter().map(|report| {
        [
            format!("{} {}", report.workload, size(report.payload_bytes)),
            report.mode.name().to_owned(),
            headline(report),
            floor(report).unwrap_or_else(absent),
            report
                .ratio_to_floor
                .map_or_else(absent, |ratio| format!("{ratio:.2}")),
            report.cpu_ns_per_message.map_or_else(absent, time),
        ]
    }));
    let widths: [usize; 6] = std::array::from_fn(|column| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            // Words to the left, figures to the right.
            let cells = row
                .iter()
                .zip(widths)
                .enumerate()
                .map(|(column, (cell, width))| {
                    if column < 2 {
                        format!("{cell:<width$}")
                    } else {
                        format!("{cell:>width$}")
                    }
                });
            format!("  {}", cells.collect::<Vec<_>>().join("   "))
        })
        .collect();
    lines.insert(
        1,
        format!("  {}", "-".repeat(widths.iter().sum::<usize>() + 3 * 5)),
    );
    lines.join("\n")
}

/// The machine in one line, and each of its warnings in one more.
pub(crate) fn host(host: &Host) -> String {
    let mut lines = vec![format!("  host: {}", host.summary())];
    lines.extend(host.warnings.iter().map(|warning| format!("  ! {warning}")));
    lines.join("\n")
}

fn absent() -> String {
    "-".to_owned()
}

/// The figure the workload is judged by.
fn headline(report: &Report) -> String {
    match report.p50_ns {
        Some(p50) if is_echo(report) => format!("p50 {}", time(p50 as f64)),
        _ => ours_rate(report),
    }
}

/// The floor's figure of the same kind.
fn floor(report: &Report) -> Option<String> {
    let p50 = report.floor_p50_ns.filter(|_| is_echo(report));
    let p50 = p50.map(|p50| format!("p50 {}", time(p50 as f64)));
    p50.or_else(|| report.floor_messages_per_second.map(rate))
}

fn is_echo(report: &Report) -> bool {
    report.workload.ends_with("echo")
}

fn ours_rate(report: &Report) -> String {
    rate(report.messages_per_second)
}

fn latency(report: &Report) -> Option<String> {
    let figures = [
        ("p50", report.p50_ns?),
        ("p90", report.p90_ns?),
        ("p99", report.p99_ns?),
        ("p99.9", report.p999_ns?),
        ("max", report.max_ns?),
    ];
    let kind = if is_echo(report) {
        "round trip"
    } else {
        "one way"
    };
    let words = figures.map(|(name, ns)| format!("{name} {}", time(ns as f64)));
    Some(format!("{}   ({kind})", words.join("   ")))
}

fn overheads(report: &Report) -> String {
    let enters = report
        .enters_per_message
        .map(|enters| format!("{enters:.4} io_uring enters"));
    let allocations = report
        .allocations_per_message
        .map(|allocations| format!("{allocations:.6} allocations"));
    let copied = report.frames_copied.map(|copied| {
        let all = (copied.straddled + copied.pinned + copied.other) as f64;
        format!("{:.4} copies", all / report.messages.max(1) as f64)
    });
    [enters, allocations, copied]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("   ")
}

fn delivery(report: &Report) -> String {
    let faults = [
        ("lost", Some(report.lost)),
        ("duplicated", report.duplicated),
        ("reordered", report.reordered),
        ("corrupt", Some(report.corrupt)),
    ];
    let counted = faults
        .iter()
        .filter_map(|(name, n)| Some(format!("{name} {}", (*n)?)));
    let arrived = format!("{} arrived", grouped(report.messages));
    std::iter::once(arrived)
        .chain(counted)
        .collect::<Vec<_>>()
        .join("   ")
}

fn fan_out(crowd: &CrowdReport) -> String {
    format!(
        "{} subscribers   {} nodes   {} groups   {} publishes   {:.4} frames each   dropped {}",
        crowd.subscribers,
        crowd.nodes,
        crowd.groups,
        grouped(crowd.publishes),
        crowd.frames_per_publish,
        grouped(crowd.dropped_by_policy),
    )
}

/// From the first delivery of a message to the last.
fn skew(crowd: &CrowdReport) -> String {
    let figures = [("p50", crowd.skew_p50_ns), ("p99", crowd.skew_p99_ns)];
    let figures = figures.map(|(name, ns)| {
        let ns = ns.map_or_else(absent, |ns| time(ns as f64));
        format!("{name} {ns}")
    });
    format!("{}   (first to last delivery)", figures.join("   "))
}

/// Messages per second to three digits.
pub(crate) fn rate(per_second: f64) -> String {
    scaled(per_second, [(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")])
}

fn byte_rate(per_second: f64) -> String {
    scaled(per_second, [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")])
}

pub(crate) fn time(ns: f64) -> String {
    scaled(ns, [(1e6, "ms"), (1e3, "us"), (1.0, "ns")])
}

pub(crate) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let units = [(1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")];
    scaled(count as f64, units)
}

/// A time that has passed, in a unit of which there are not too many.
pub(crate) fn age(ms: u64) -> String {
    match ms / 1000 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// `value` in the largest unit it reaches, else in the last.
fn scaled(value: f64, units: [(f64, &str); 3]) -> String {
    // What would be rounded up to a thousand of a unit is one of the next.
    let reaches = |unit: f64| value >= unit * 0.9995;
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| reaches(*unit))
        .unwrap_or(units[2]);
    let value = value / unit;
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {name}")
}

fn size(bytes: usize) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} B")
    }
}

/// Digits in groups of three.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::engine_report;

    #[test]
    fn figures_have_three_digits_and_the_unit_they_reach() {
        assert_eq!(rate(28_412_345.0), "28.4 M/s");
        assert_eq!(rate(48_000.0), "48.0 k/s");
        assert_eq!(rate(0.5), "0.50 /s");
        assert_eq!(rate(999_900.0), "1.00 M/s");
        assert_eq!(byte_rate(3.1e9), "3.10 GB/s");
        assert_eq!(time(71.25), "71.2 ns");
        assert_eq!(time(5_432.0), "5.43 us");
        assert_eq!(time(123_456_789.0), "123 ms");
        assert_eq!(
            (bytes(0), bytes(1 << 20)),
            ("0 B".into(), "1.00 MiB".into())
        );
        assert_eq!(
            [119_999, 120_000, 7_200_000].map(age),
            ["119 s", "2 min", "2 h"]
        );
        assert_eq!(size(64), "64 B");
        assert_eq!(size(65_536), "64 KiB");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn every_row_of_the_table_is_as_wide_as_its_head() {
        let table = table(&[engine_report(), engine_report()]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        let width = lines[0].chars().count();
        assert!(
            lines.iter().all(|line| line.chars().count() == width),
            "{table}"
        );
        assert!(lines[2].contains("stream 64 B"), "{table}");
        assert!(lines[2].contains("0.80"), "{table}");
    }

    #[test]
    fn a_report_names_its_figures() {
        let text = report(&engine_report(), 5);
        for word in [
            "stream 64 B",
            "8.00 M/s",
            "ratio 0.80",
            "lost 1",
            "duplicated 2",
            "host:",
        ] {
            assert!(text.contains(word), "{word} is missing in\n{text}");
        }
    }
}
