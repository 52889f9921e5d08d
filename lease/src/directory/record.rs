//! Who holds a lease, as it stands in a file: text, so that an operator can read it. The last line
//! is a checksum of those before it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use ringmesh_cluster::lease::{Ask, LEASE_OWNER_BYTES_MAX, LeaseName};
use ringmesh_proto::checksum::of_bytes;

use super::DirectoryError;
use crate::TIME_TO_LIVE_MAX;

const FIRST_LINE: &str = "ringmesh lease 1";

/// The longest file that is read, in bytes.
const RECORD_BYTES_MAX: u64 = 4 << 10;

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) token: u64,
    /// How often it was renewed since it was given: so every sign of life is another record.
    renewals: u64,
    pub(super) time_to_live: Duration,
    /// Whether its owner still has it.
    pub(super) is_held: bool,
    pub(super) owner: Box<str>,
}

impl Record {
    /// That it is given to whoever asks.
    pub(super) fn new(ask: &Ask, token: u64) -> Self {
        Self {
            token,
            renewals: 0,
            time_to_live: whole(ask.time_to_live),
            is_held: true,
            owner: ask.owner.clone(),
        }
    }

    /// That nobody has it, and the next one is given the token after this one.
    pub(super) fn free(ask: &Ask, token: u64) -> Self {
        Self {
            is_held: false,
            ..Self::new(ask, token)
        }
    }

    pub(super) fn renewed(&self, time_to_live: Duration) -> Self {
        Self {
            renewals: self.renewals.wrapping_add(1),
            time_to_live: whole(time_to_live),
            ..self.clone()
        }
    }

    pub(super) fn released(&self) -> Self {
        Self {
            is_held: false,
            ..self.clone()
        }
    }

    pub(super) fn is_held_by(&self, owner: &str) -> bool {
        self.is_held && &*self.owner == owner
    }

    /// What differs between any two records of a lease.
    pub(super) fn mark(&self) -> String {
        let millis = self.time_to_live.as_millis();
        format!("{} {} {millis} {}", self.token, self.renewals, self.owner)
    }

    pub(super) fn print(&self, name: &LeaseName) -> String {
        let mut text = format!("{FIRST_LINE}\nname {name}\n");
        let _ = writeln!(text, "token {}", self.token);
        let _ = writeln!(text, "renewals {}", self.renewals);
        let _ = writeln!(text, "time_to_live_ms {}", self.time_to_live.as_millis());
        let _ = writeln!(text, "held {}", if self.is_held { "yes" } else { "no" });
        let _ = writeln!(text, "owner {}", self.owner);
        let sum = of_bytes(text.as_bytes());
        let _ = writeln!(text, "checksum {sum:08x}");
        text
    }

    fn parse(text: &str, name: &LeaseName) -> Result<Self, &'static str> {
        let early = "it ends too early";
        let text = text.strip_suffix('\n').ok_or(early)?;
        let (covered, sum) = text.split_at(text.rfind('\n').ok_or(early)? + 1);
        let sum = sum.strip_prefix("checksum ").ok_or(early)?;
        if sum != format!("{:08x}", of_bytes(covered.as_bytes())) {
            return Err("its checksum is wrong");
        }
        let mut lines = covered.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err("it is of another version");
        }
        let mut field = |key: &str| {
            let line = lines.next()?;
            line.strip_prefix(key)?.strip_prefix(' ')
        };
        if field("name") != Some(name.as_str()) {
            return Err("it is of another lease");
        }
        let number = |text: Option<&str>| text?.parse::<u64>().ok();
        let token = number(field("token")).ok_or("it has no token")?;
        let renewals = number(field("renewals")).ok_or("it has no renewals")?;
        let millis = number(field("time_to_live_ms")).ok_or("it has no time to live")?;
        let is_held = match field("held") {
            Some("yes") => true,
            Some("no") => false,
            _ => return Err("it does not say whether it is held"),
        };
        let owner = field("owner").ok_or("it has no owner")?;
        let time_to_live = Duration::from_millis(millis);
        let is_good = (1..=LEASE_OWNER_BYTES_MAX).contains(&owner.len());
        if !is_good || time_to_live > TIME_TO_LIVE_MAX + Duration::from_millis(1) {
            return Err("it says what cannot be");
        }
        let is_more = lines.next().is_some();
        let owner = owner.into();
        (!is_more)
            .then_some(Self {
                token,
                renewals,
                time_to_live,
                is_held,
                owner,
            })
            .ok_or("it says more than it should")
    }
}

/// In whole milliseconds, which a record has, and not less.
fn whole(time: Duration) -> Duration {
    let millis = time.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// Reads a record, if there is one.
///
/// # Errors
/// [`DirectoryError::Io`], and [`DirectoryError::Damaged`] if it is something else.
pub(super) fn read(path: &Path, name: &LeaseName) -> Result<Option<Record>, DirectoryError> {
    let io = |error| DirectoryError::Io {
        path: path.to_owned(),
        error,
    };
    let damaged = |what| DirectoryError::Damaged {
        path: path.to_owned(),
        what,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Vec::new();
    let mut file = file.take(RECORD_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(damaged("it is too long"));
    }
    let text = str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
    Record::parse(text, name).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ringmesh_cluster::lease::{Deed, Token};

    use super::*;

    fn name() -> LeaseName {
        LeaseName::new("shop").unwrap()
    }

    fn record() -> Record {
        let ask = Ask {
            number: 1,
            name: name(),
            owner: "ringmesh://demo@[::1]:7401/00000000000000ab".into(),
            deed: Deed::Acquire(Token(0)),
            time_to_live: Duration::from_micros(14_999_001),
        };
        Record::new(&ask, 7).renewed(ask.time_to_live)
    }

    #[test]
    fn the_text_is_fixed_and_is_read_again() {
        let expected = "ringmesh lease 1\nname shop\ntoken 7\nrenewals 1\n\
                        time_to_live_ms 15000\nheld yes\n\
                        owner ringmesh://demo@[::1]:7401/00000000000000ab\n\
                        checksum d0c0e134\n";
        assert_eq!(record().print(&name()), expected);
        for record in [record(), record().released()] {
            let text = record.print(&name());
            assert_eq!(Record::parse(&text, &name()), Ok(record));
        }
    }

    #[test]
    fn a_record_with_any_byte_changed_or_missing_is_damaged() {
        let text = record().print(&name());
        for end in 0..text.len() {
            assert!(Record::parse(&text[..end], &name()).is_err(), "{end}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let text = String::from_utf8(bytes).unwrap();
            assert!(Record::parse(&text, &name()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_record_with_a_right_checksum_and_wrong_lines_says_what_is_wrong() {
        let with_sum = |text: &str| format!("{text}checksum {:08x}\n", of_bytes(text.as_bytes()));
        let whole = record().print(&name());
        let whole = whole.rsplit_once("checksum").unwrap().0;
        let said = [
            ("lease 1", "lease 2", "it is of another version"),
            ("name shop", "name ship", "it is of another lease"),
            ("token 7", "token -7", "it has no token"),
            ("renewals 1", "renewals", "it has no renewals"),
            ("_ms 15000", "_ms x", "it has no time to live"),
            ("_ms 15000", "_ms 86400002", "it says what cannot be"),
            (
                "held yes",
                "held perhaps",
                "it does not say whether it is held",
            ),
            ("owner ringmesh", "whose ringmesh", "it has no owner"),
            (
                "held yes",
                "held yes\nowner me",
                "it says more than it should",
            ),
        ];
        for (from, to, what) in said {
            let text = with_sum(&whole.replace(from, to));
            assert_eq!(Record::parse(&text, &name()), Err(what), "{text}");
        }
    }

    #[test]
    fn one_over_the_record_bytes_max_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.lease");
        let longest = usize::try_from(RECORD_BYTES_MAX).unwrap();
        let what = |bytes: usize| {
            fs::write(&path, "x".repeat(bytes)).unwrap();
            match read(&path, &name()) {
                Err(DirectoryError::Damaged { what, .. }) => what,
                other => panic!("it was read as {other:?}"),
            }
        };
        assert_eq!(what(longest + 1), "it is too long");
        assert_ne!(what(longest), "it is too long");
    }
}
