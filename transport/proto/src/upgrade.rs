//! Older versions of a message, and the way from them to the current one.
//!
//! Whoever reads a message knows how its older versions were laid out, and turns them into the
//! current one before anybody looks at them. That is a copy and an encoding more for each message
//! in an older version, and nothing for one in the current version.
//!
//! Only the reader upgrades. A peer that knows no more than the older version cannot read the newer
//! one, and is told so. So a new version is released in two steps: first the programs that read it,
//! and one release later those that send it. The same goes for replies: the askers come first.

use crate::archive::{AccessError, EncodeError, access, deserialize, encode, measure};
use crate::message::{Message, MessageType};

/// Says what an older version of a message means in this one. Named in `upgrades(..)` of
/// `#[message]`, where the older one is a message of the same id with a lower version.
///
/// Each older version that is to be read has an implementation of its own; one may be made of
/// another: `Self::upgrade(AddV2::upgrade(old))`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not made of `{Old}`",
    label = "`upgrades(..)` names `{Old}`",
    note = "add `impl Upgrade<{Old}> for {Self}`"
)]
pub trait Upgrade<Old: Message>: Message {
    /// The same message in this version.
    ///
    /// It runs on the core that received the message, and should add little to it: what it adds is
    /// held besides what the sender's credit allows.
    ///
    /// # Panics
    /// A panic here costs this message alone: it is a dead letter, and its asker is told that it
    /// failed. The actor goes on, which this has not touched.
    fn upgrade(old: Old) -> Self;
}

/// An older version of a message, as its reader needs it.
#[derive(Clone, Copy, Debug)]
pub struct Older {
    /// The identity that peers name it by.
    pub message: MessageType,
    upgrade: fn(&[u8], usize) -> Result<Vec<u8>, UpgradeError>,
}

impl Older {
    /// `Old`, an older version of `New`.
    pub const fn of<Old: Message, New: Upgrade<Old>>() -> Self {
        Self {
            message: Old::TYPE,
            upgrade: upgrade::<Old, New>,
        }
    }

    /// Turns an archive of the older version into one of the current version, of at most
    /// `bytes_max`. Calls user code, which may panic.
    ///
    /// # Errors
    /// [`UpgradeError`]; the sender is at fault only for [`UpgradeError::Invalid`].
    pub fn upgrade(&self, archive: &[u8], bytes_max: usize) -> Result<Vec<u8>, UpgradeError> {
        (self.upgrade)(archive, bytes_max)
    }
}

/// Which message it is says all there is to compare.
impl PartialEq for Older {
    fn eq(&self, other: &Self) -> bool {
        self.message == other.message
    }
}

impl Eq for Older {}

/// Why an older version did not become the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// The bytes are not an archive of the older version.
    #[error(transparent)]
    Invalid(#[from] AccessError),
    /// The upgraded message is longer than messages may be.
    #[error("the upgraded message has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The upgraded message cannot be archived.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

fn upgrade<Old: Message, New: Upgrade<Old>>(
    archive: &[u8],
    limit: usize,
) -> Result<Vec<u8>, UpgradeError> {
    let old = deserialize::<Old>(access::<Old>(archive)?);
    let new = New::upgrade(old);
    let bytes = measure(&new)?;
    if bytes > limit {
        return Err(UpgradeError::TooLarge { bytes, limit });
    }
    let mut upgraded = vec![0; bytes];
    encode(&new, &mut upgraded)?;
    Ok(upgraded)
}

/// Fails to compile where `Old` is no older version of `New`. For the macros.
#[doc(hidden)]
pub const fn assert_older<Old: Message, New: Upgrade<Old>>() {
    assert!(
        Old::ID.as_u64() == New::ID.as_u64(),
        "an older version of a message has the same id"
    );
    assert!(
        Old::VERSION < New::VERSION,
        "an older version of a message has a lower `v`"
    );
}

/// Fails to compile where two older versions of `M` have the same number. For the macros.
#[doc(hidden)]
pub const fn assert_versions_differ<M: Message>() {
    let mut index = 0;
    while index < M::OLDER.len() {
        let mut other = index + 1;
        while other < M::OLDER.len() {
            assert!(
                M::OLDER[index].message.version != M::OLDER[other].message.version,
                "two older versions of a message have the same `v`"
            );
            other += 1;
        }
        index += 1;
    }
}
