//! What may be held by one at a time, for a while: the words a holder and whoever gives it speak.
//!
//! A lease is given out by a store outside the cluster: a shared directory, Consul, Kubernetes.
//! That one holds it proves nothing by itself, for a holder that stood still does not know that its
//! time is over. Two things make it safe: the holder counts its time from *before* it
//! asked, by its own monotonic clock, and ends what it does with the lease a margin before that
//! time is over; and with each lease comes a [`Token`] that is larger than all before it, by which
//! whatever the work is done to can refuse those that come late.
//!
//! An [`Ask`] goes out as an effect and its [`Answer`] comes back as an input, so the machines that
//! use leases are pure. Whoever carries it out may take long, fail, or never answer. What a lease
//! is wanted for is left to its user; how it is got, kept and given back is a [`Holder`]'s.

mod holder;
#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod testing;

use std::fmt;
use std::time::Duration;

pub use self::holder::{Holder, HolderOutput, WhyLost};

/// The longest name of a lease, in bytes: what Kubernetes takes as the name of an object's part.
pub const LEASE_NAME_BYTES_MAX: usize = 63;

/// The longest name of an owner, in bytes.
pub const LEASE_OWNER_BYTES_MAX: usize = 256;

/// Counts how often a lease was given out: a larger one was given out later. Whoever is asked to do
/// something under a lease refuses tokens smaller than the largest it has seen.
///
/// It counts in ones. Whoever is given the next number after one it knows knows with that that
/// nobody had the lease in between; a store that leaves numbers out is safe, and has everybody
/// believe that somebody had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// So many tokens a store leaves out that finds that it holds less than was known before, as one
/// does that was restored from a copy: what it gave since then, and nobody it hears knows of, it
/// gives to nobody again, as long as that was not more.
pub const TOKENS_LEFT_OUT: u64 = 1 << 16;

impl Token {
    /// What a store counts on from that holds this one, if it is told that `known` was given out:
    /// this one, if that is no smaller, else one that is [far](TOKENS_LEFT_OUT) behind `known`.
    #[must_use]
    pub const fn counting_on(self, known: Self) -> Self {
        match self.0 < known.0 {
            true => Self(known.0.saturating_add(TOKENS_LEFT_OUT)),
            false => self,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is leased: 1 to [`LEASE_NAME_BYTES_MAX`] lower-case letters, digits and `-`, of which `-`
/// neither begins nor ends it. So it is a name in every store as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName(Box<str>);

/// A text is no name of a lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no name of a lease: 1 to {LEASE_NAME_BYTES_MAX} lower-case letters, digits and \
     '-', which neither begins nor ends it"
)]
pub struct LeaseNameError {
    /// The text.
    pub text: String,
}

impl LeaseName {
    /// The name, if it is one.
    ///
    /// # Errors
    /// [`LeaseNameError`] if it has other characters, or none, or too many.
    pub fn new(text: &str) -> Result<Self, LeaseNameError> {
        let is_good = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        let is_framed = text.starts_with('-') || text.ends_with('-');
        let is_long = text.is_empty() || text.len() > LEASE_NAME_BYTES_MAX;
        if is_long || is_framed || !text.bytes().all(is_good) {
            let text = text.to_owned();
            return Err(LeaseNameError { text });
        }
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of whoever gives leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// To have it, unless another has: answered by [`Answer::Held`] or [`Answer::HeldBy`]. Whoever
    /// has it already keeps it, with the token that it has and for the full time again: so it may
    /// ask once more when an answer was lost, and no number of a token is left out by that. With
    /// it goes the last token that whoever asks knows of, or 0: a store that holds less
    /// [counts on](Token::counting_on) behind it before it gives the next one, as far as its tokens
    /// can be chosen.
    Acquire(Token),
    /// To keep what was given with this token for the full time again, from now on: answered by
    /// [`Answer::Held`] with the same token, or by [`Answer::Lost`].
    Renew(Token),
    /// To end what was given with this token: answered by [`Answer::Released`], also if it had
    /// ended before.
    Release(Token),
    /// To know the last token that was given out, and to have nothing: answered by
    /// [`Answer::Last`], whoever has the lease. If that is smaller than this one, as it is in a
    /// store that is new or was restored from a copy, the store [counts on](Token::counting_on)
    /// behind it, as far as its tokens can be chosen; unless another has the lease, which is
    /// answered by [`Answer::HeldBy`].
    Look(Token),
}

/// A request to whoever gives leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// To be named in the answer. Larger with each.
    pub number: u64,
    /// Which lease.
    pub name: LeaseName,
    /// Who asks: another process start is another owner. At most [`LEASE_OWNER_BYTES_MAX`].
    pub owner: Box<str>,
    /// What is asked.
    pub deed: Deed,
    /// So long it is given from the moment it is, if it is. Never shorter: whoever gives it may
    /// give longer.
    pub time_to_live: Duration,
}

/// What came of an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Whoever asked has it.
    Held {
        /// Larger than all given out for this name before, unless it was kept.
        token: Token,
    },
    /// Another has it.
    HeldBy {
        /// Who, as that one named itself.
        owner: Box<str>,
    },
    /// What was to be kept is not held any more by whoever asked.
    Lost,
    /// Whoever asked does not have it any more.
    Released,
    /// The last token that was given out, or that behind which the store begins: the next one to be
    /// given out, unless the record is deleted, is the one after it.
    Last {
        /// It.
        token: Token,
    },
    /// It is not known what came of it, if anything: whoever gives it out failed or was not
    /// reached.
    Failed {
        /// Why, for people.
        why: Box<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_in_every_store() {
        let longest = "a".repeat(LEASE_NAME_BYTES_MAX);
        for good in ["a", "7", "shop-7", &longest] {
            assert_eq!(LeaseName::new(good).expect(good).as_str(), good);
        }
    }

    #[test]
    fn one_over_the_lease_name_bytes_max_is_no_name_nor_is_what_a_store_would_not_take() {
        let over = "a".repeat(LEASE_NAME_BYTES_MAX + 1);
        for bad in [
            "", "-", "-a", "a-", "A", "a.b", "a/b", "a b", "\u{e4}", &over,
        ] {
            let error = LeaseName::new(bad).expect_err(bad);
            assert!(error.to_string().contains("lower-case"), "{error}");
        }
    }
}
