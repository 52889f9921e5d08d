//! Names that messages are published to.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use ringmesh_cluster::pubsub::{NameError, TopicName};
use ringmesh_proto::message::{Message, MessageType};

/// What is published to, and subscribed to: a name, and the type of the messages. Two topics of one
/// name and different types have nothing in common but that the mismatch is counted.
///
/// ```
/// # use ringmesh::prelude::*;
/// use ringmesh::pubsub::Topic;
///
/// #[message(id = "doc.Tick", v = 1)]
/// struct Tick { price: i64 }
///
/// const TICKS: Topic<Tick> = Topic::new("market.ticks");
/// ```
pub struct Topic<M> {
    name: Cow<'static, str>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message> Topic<M> {
    /// The topic of that name. Whether that is one is found out when it is used.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            message: PhantomData,
        }
    }

    /// The topic of a name that the program makes as it runs.
    ///
    /// # Errors
    /// [`NameError`]: it is none, for it is empty, too long, has an empty segment or a wildcard.
    pub fn named(name: impl Into<String>) -> Result<Self, NameError> {
        let name: String = name.into();
        TopicName::new(&name)?;
        Ok(Self {
            name: Cow::Owned(name),
            message: PhantomData,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, if it is one.
    pub(crate) fn checked(&self) -> Result<TopicName, NameError> {
        TopicName::new(&self.name)
    }
}

/// The number that tells message types apart, in all processes: FNV-1a.
pub(crate) const fn number_of(message: &MessageType) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let parts = [
        message.id.as_u64(),
        message.version as u64,
        message.fingerprint,
    ];
    let mut at = 0;
    while at < parts.len() {
        hash = (hash ^ parts[at]).wrapping_mul(0x0100_0000_01B3);
        at += 1;
    }
    hash
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            message: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}

impl<M> fmt::Display for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
