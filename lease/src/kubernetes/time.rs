//! Times as Kubernetes writes them: RFC 3339, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 60 * 60;

/// A `MicroTime`. What was before 1970 is taken for that.
pub(super) fn micro_time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let (second, micros) = (second % 60, since.subsec_micros());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The seconds since 1970 of a `Time`, without parts of a second. `None`: it is none, or before.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let is_framed = text.len() == 19 && text.is_ascii();
    let signs = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !is_framed || signs.iter().any(|(at, sign)| &text[*at..at + 1] != *sign) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &text[from..to];
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| is_whole)
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_good = year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let seconds = hour * 3600 + minute * 60 + second;
    is_good.then(|| days(year, month, day) * DAY + seconds)
}

/// The days from 1970 to a date. Years begin in March, so that the day that some years have more
/// is their last: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    let before = 719_468;
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - before
}

/// The other way round.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_its_own() {
        for day in 0..146_097 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2023-06-13T01:56:13",
            "2023-06-13T01:56:13+01:00",
            "2023-06-13 01:56:13Z",
            "2023-13-13T01:56:13Z",
            "2023-00-13T01:56:13Z",
            "1969-12-31T23:59:59Z",
            "+023-06-13T01:56:13Z",
            "2023-06-13T01:56:1\u{e4}Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
