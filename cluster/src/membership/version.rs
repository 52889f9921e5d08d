//! The version of the program that runs on a member.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The longest version, in bytes.
pub const APP_VERSION_BYTES_MAX: usize = 64;

/// The version of a user's program, as in `2.1.0`, `2.1.0-rc1` or `2.1.0+17-4a8b`.
///
/// Ordered as people read versions: up to three numbers with dots, each as a number and a missing
/// one as 0; then what follows them. `+` marks commits behind a release and comes after it, `-` a
/// version before its release and comes before it; numbers in either count as numbers. A text that
/// begins with no number comes before all that do, and such texts are ordered by their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppVersion(Box<str>);

/// Why a text is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version has 1 to {APP_VERSION_BYTES_MAX} letters, digits, '.', '-', '_' and '+'")]
pub struct AppVersionError;

impl AppVersion {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The numbers, the text behind them, and whether there are any.
    fn parts(&self) -> (bool, [u64; 3], &str) {
        let mut numbers = [0; 3];
        let mut rest = &*self.0;
        let mut found = false;
        for number in &mut numbers {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(value) = rest[..digits].parse() else {
                break;
            };
            (*number, rest, found) = (value, &rest[digits..], true);
            match rest.strip_prefix('.') {
                Some(next) if next.starts_with(|it: char| it.is_ascii_digit()) => rest = next,
                _ => break,
            }
        }
        (found, numbers, rest)
    }
}

impl Default for AppVersion {
    /// `0.0.0`, of whoever names none.
    fn default() -> Self {
        Self("0.0.0".into())
    }
}

impl FromStr for AppVersion {
    type Err = AppVersionError;

    fn from_str(text: &str) -> Result<Self, AppVersionError> {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte);
        if (1..=APP_VERSION_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_good) {
            return Ok(Self(text.into()));
        }
        Err(AppVersionError)
    }
}

impl fmt::Display for AppVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for AppVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = (self.parts(), other.parts());
        let by_numbers = (mine.0, mine.1).cmp(&(theirs.0, theirs.1));
        let by_kind = || kind_of(mine.2).cmp(&kind_of(theirs.2));
        let by_rest = || by_pieces(mine.2, theirs.2);
        let by_text = || self.0.cmp(&other.0);
        let order = by_numbers.then_with(by_kind).then_with(by_rest);
        order.then_with(by_text)
    }
}

impl PartialOrd for AppVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Before the release, the release, or behind it.
fn kind_of(rest: &str) -> u8 {
    match rest.bytes().next() {
        None => 1,
        Some(b'+') => 2,
        Some(_) => 0,
    }
}

/// Digits are compared as a number, all else as text.
fn by_pieces(mine: &str, theirs: &str) -> Ordering {
    let (mut mine, mut theirs) = (pieces(mine), pieces(theirs));
    loop {
        let order = match (mine.next(), theirs.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(mine), Some(theirs)) => by_piece(mine, theirs),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn by_piece(mine: &str, theirs: &str) -> Ordering {
    match (mine.parse::<u64>(), theirs.parse::<u64>()) {
        (Ok(mine), Ok(theirs)) => mine.cmp(&theirs),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => mine.cmp(theirs),
    }
}

/// Runs of digits, and runs of what are none.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let bytes = |a: &u8, b: &u8| a.is_ascii_digit() == b.is_ascii_digit();
    let runs = text.as_bytes().chunk_by(bytes);
    // All is ASCII, so a run of bytes is one of characters.
    runs.map(|run| std::str::from_utf8(run).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> AppVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_as_people_read_them() {
        let ordered = [
            "blue",
            "green",
            "1",
            "1.0.1",
            "1.2-M1",
            "1.2.0-rc1",
            "1.2.0-rc9",
            "1.2.0-rc10",
            "1.2.0",
            "1.2.0+3-1234abcd",
            "1.2.0+17-1234abcd",
            "1.2.1",
            "1.10.0",
            "2",
            "10.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn the_order_is_one_of_texts_too_so_equal_versions_are_the_same() {
        assert_ne!(version("1.0").cmp(&version("1.0.0")), Ordering::Equal);
        assert_eq!(version("1.0").cmp(&version("1.0")), Ordering::Equal);
        assert!(version("99999999999999999999") < version("1"), "no number");
    }

    #[test]
    fn one_over_the_app_version_bytes_max_and_odd_texts_are_refused() {
        let longest = "1".repeat(APP_VERSION_BYTES_MAX);
        assert!(longest.parse::<AppVersion>().is_ok());
        for bad in ["", "1 0", "1\u{e9}", &format!("{longest}1")] {
            assert_eq!(bad.parse::<AppVersion>(), Err(AppVersionError));
        }
    }
}
