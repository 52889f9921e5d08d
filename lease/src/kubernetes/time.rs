//! Times as Kubernetes writes them: RFC 3339, in UTC.

use std::time::SystemTime;

use jiff::Timestamp;

/// A `MicroTime`. What is not a time of the calendar is taken for the beginning of 1970.
pub(super) fn micro_time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}

/// The seconds since 1970 of a `Time`, without parts of a second. `None`: it is none, or before.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn known_times_are_written_and_read() {
        let known = [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_686_621_373, "2023-06-13T01:56:13"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ];
        for (second, text) in known {
            assert_eq!(seconds(&format!("{text}Z")), Some(second));
            let time = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_micros(7);
            assert_eq!(micro_time(time), format!("{text}.000007Z"));
            assert_eq!(seconds(&micro_time(time)), Some(second));
        }
        let whole = UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(micro_time(whole), "1970-01-01T00:00:01.000000Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2023-06-13T01:56:13",
            "2023-13-13T01:56:13Z",
            "2023-00-13T01:56:13Z",
            "2023-02-29T01:56:13Z",
            "1969-12-31T23:59:59Z",
            "+023-06-13T01:56:13Z",
            "2023-06-13T01:56:1\u{e4}Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
