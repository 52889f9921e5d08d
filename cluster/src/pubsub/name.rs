//! What is published to, what is subscribed to, and what else has a name.
//!
//! A name is segments with a `.` between them. A pattern is a name in which a segment may be `*`,
//! which any one segment matches, and the last one `**`, which any number of segments match, also
//! none. No segment is empty, and none holds white space, control characters, or a `*` beside other
//! characters.

use std::fmt;
use std::sync::Arc;

use ringmesh_proto::address::check_actor_path;

use super::limits::{GROUP_BYTES_MAX, PATH_BYTES_MAX, SEGMENTS_MAX, TOPIC_BYTES_MAX};
use super::shape::{Shape, hash};

/// Why a text is not the name that it was to be. The caller is at fault, and nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// It has no characters.
    #[error("a name has at least one character")]
    Empty,
    /// A segment is empty, or has a character that it may not have.
    #[error(
        "a name is segments with a '.' between, none of them empty, without white space, control \
         characters, or a '*' beside other characters"
    )]
    Malformed,
    /// It is too long.
    #[error("the name has {length} bytes, and may have {max}")]
    Overlong {
        /// How long it is, in bytes.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// It has too many segments.
    #[error("the name has {count} segments, and may have {SEGMENTS_MAX}")]
    Segments {
        /// How many it has.
        count: usize,
    },
    /// It has a wildcard, and what is published to has none; or `**` is not its last segment.
    #[error(
        "one topic is published to, so its name has no '*'; a pattern has '**' only at its end"
    )]
    Wildcard,
}

/// A topic: the name of what is published to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    text: Arc<str>,
    hash: u64,
}

impl TopicName {
    /// The topic of that name.
    ///
    /// # Errors
    /// [`NameError`] if it is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        Topic::new(text).map(Topic::to_name)
    }

    /// The same, borrowed.
    pub fn topic(&self) -> Topic<'_> {
        Topic {
            text: &self.text,
            hash: self.hash,
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A topic that somebody else holds, such as a frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    text: &'a str,
    hash: u64,
}

impl<'a> Topic<'a> {
    /// The topic of that name.
    ///
    /// # Errors
    /// [`NameError`] if it is none.
    pub fn new(text: &'a str) -> Result<Self, NameError> {
        match check(text)? {
            None => Ok(Self {
                text,
                hash: hash(text.as_bytes()),
            }),
            Some(_) => Err(NameError::Wildcard),
        }
    }

    /// The same of a pattern that was checked before; `None` if it has wildcards.
    pub(super) fn of_sound(pattern: &'a str) -> Option<Self> {
        let is_plain = !pattern.as_bytes().contains(&b'*');
        is_plain.then(|| Self {
            text: pattern,
            hash: hash(pattern.as_bytes()),
        })
    }

    /// As text.
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// The same with memory of its own.
    pub fn to_name(self) -> TopicName {
        TopicName {
            text: self.text.into(),
            hash: self.hash,
        }
    }

    pub(super) fn hash(self) -> u64 {
        self.hash
    }
}

/// What is subscribed to: a topic, or all whose names match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    text: Arc<str>,
    shape: Option<Shape>,
}

impl Pattern {
    /// The pattern that is written so.
    ///
    /// # Errors
    /// [`NameError`] if it is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let shape = check(text)?;
        let text = text.into();
        Ok(Self { text, shape })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has no wildcard, and so is the name of one topic.
    pub fn is_exact(&self) -> bool {
        self.shape.is_none()
    }

    /// Whether that topic is one of those.
    pub fn matches(&self, topic: Topic<'_>) -> bool {
        match self.shape {
            None => *self.text == *topic.text,
            Some(shape) => shape.is_instance(topic.text, &self.text),
        }
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        self.shape
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }
}

/// The name of a group: of its subscribers one gets what is published.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// The group of that name.
    ///
    /// # Errors
    /// [`NameError`] if it is none: it has no white space, control characters or `*`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_group(text)?;
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Under what an actor is put, to be sent to from anywhere: the path of an actor behind `/user/`,
/// or any text of the same form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub(super) Arc<str>);

impl Path {
    /// That path.
    ///
    /// # Errors
    /// [`NameError`] if it is none.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_length(text, PATH_BYTES_MAX)?;
        check_actor_path(text).map_err(|_| NameError::Malformed)?;
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as what is remembered by its text.
    pub(super) fn as_text(&self) -> Topic<'_> {
        Topic {
            text: &self.0,
            hash: hash(self.0.as_bytes()),
        }
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn check_group(text: &str) -> Result<(), NameError> {
    check_length(text, GROUP_BYTES_MAX)?;
    if text.contains(|it| it == '*' || is_foreign(it)) {
        return Err(NameError::Malformed);
    }
    Ok(())
}

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    let length = text.len();
    if length == 0 {
        return Err(NameError::Empty);
    }
    if length > max {
        return Err(NameError::Overlong { length, max });
    }
    Ok(())
}

fn is_foreign(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control()
}

/// The shape of a pattern, if it has wildcards. Each frame names a topic, so what has none is
/// checked in one pass without a branch.
pub(super) fn check(text: &str) -> Result<Option<Shape>, NameError> {
    check_length(text, TOPIC_BYTES_MAX)?;
    let (mut dots, mut is_whole, mut is_plain) = (0, true, true);
    let (mut is_starred, mut is_ascii) = (false, true);
    let mut before = b'.';
    for byte in text.bytes() {
        dots += usize::from(byte == b'.');
        is_whole &= byte != b'.' || before != b'.';
        is_plain &= byte > b' ' && byte != 0x7F;
        is_starred |= byte == b'*';
        is_ascii &= byte.is_ascii();
        before = byte;
    }
    let count = dots + 1;
    if count > SEGMENTS_MAX {
        return Err(NameError::Segments { count });
    }
    if !is_whole || before == b'.' || !is_plain || !is_ascii && text.contains(is_foreign) {
        return Err(NameError::Malformed);
    }
    if !is_starred {
        return Ok(None);
    }
    for (place, segment) in text.split('.').enumerate() {
        match segment {
            "**" if place + 1 < count => return Err(NameError::Wildcard),
            "*" | "**" => {}
            _ if segment.contains('*') => return Err(NameError::Malformed),
            _ => {}
        }
    }
    Ok(Shape::of(text))
}

#[cfg(test)]
mod tests;
