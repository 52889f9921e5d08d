//! What no store is asked, and how a failure is told.

use std::fmt::Display;

use ringmesh_cluster::lease::{Answer, Ask, LEASE_OWNER_BYTES_MAX};

use crate::TIME_TO_LIVE_MAX;

/// The longest text of a failure, in bytes.
const WHY_BYTES_MAX: usize = 300;

/// Refuses what cannot be asked.
///
/// # Errors
/// The answer to it.
pub(crate) fn check(ask: &Ask) -> Result<(), Answer> {
    let owner = &*ask.owner;
    if owner.is_empty() || owner.len() > LEASE_OWNER_BYTES_MAX {
        let bytes = owner.len();
        return Err(failed(format_args!(
            "an owner's name of {bytes} bytes: it has 1 to {LEASE_OWNER_BYTES_MAX}"
        )));
    }
    if owner.chars().any(char::is_control) {
        return Err(failed("an owner's name has no control characters"));
    }
    if ask.time_to_live.is_zero() || ask.time_to_live > TIME_TO_LIVE_MAX {
        return Err(failed(format_args!(
            "a time to live of {:?}: it is more than 0 and at most {TIME_TO_LIVE_MAX:?}",
            ask.time_to_live
        )));
    }
    Ok(())
}

/// It is not known what came of an ask.
pub(crate) fn failed(why: impl Display) -> Answer {
    let why = one_line(&why.to_string(), WHY_BYTES_MAX).into();
    Answer::Failed { why }
}

/// The text without control characters, and not longer than that.
pub(crate) fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line = String::new();
    for letter in text.trim().chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if line.len() + letter.len_utf8() > bytes_max {
            break;
        }
        line.push(letter);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringmesh_cluster::lease::{Deed, LeaseName, Token};

    use super::*;

    fn ask(owner: &str, time_to_live: Duration) -> Ask {
        Ask {
            number: 1,
            name: LeaseName::new("shop").unwrap(),
            owner: owner.into(),
            deed: Deed::Acquire(Token(0)),
            time_to_live,
        }
    }

    #[test]
    fn one_over_the_lease_owner_bytes_max_and_the_time_to_live_max_is_refused() {
        let second = Duration::from_secs(1);
        let longest = "a".repeat(LEASE_OWNER_BYTES_MAX);
        assert_eq!(check(&ask(&longest, TIME_TO_LIVE_MAX)), Ok(()));
        let over = format!("{longest}a");
        for bad in [
            ask(&over, second),
            ask("", second),
            ask("a\nb", second),
            ask("a", Duration::ZERO),
            ask("a", TIME_TO_LIVE_MAX + Duration::from_nanos(1)),
        ] {
            assert!(matches!(check(&bad), Err(Answer::Failed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_failure_is_one_short_line() {
        let Answer::Failed { why } = failed("a\r\nb\u{e4}\u{7}".repeat(400)) else {
            panic!("it failed");
        };
        assert!(
            why.len() <= WHY_BYTES_MAX && why.starts_with("a  b\u{e4}"),
            "{why}"
        );
        assert!(!why.chars().any(char::is_control), "{why}");
    }
}
