//! How what pub-sub announces is written as keys of the registry.
//!
//! | kind | name | weight |
//! |---|---|---|
//! | [`Kind::TOPIC`] | the pattern | subscribers of the core that are in no group |
//! | [`Kind::GROUP`] | the pattern, a space, the group | members of the group on the core |
//! | [`Kind::PATH`] | the path | 1; the place is the actor |
//!
//! Neither patterns nor groups have a space in them. The protocol of each key is the fingerprint of
//! the message type.

use super::name::{GroupName, Path, Pattern, check, check_group};
use super::shape::Shape;
use crate::registry::{Key, Kind};

const SEPARATOR: char = ' ';

/// The key under which a core announces that it has subscribers.
pub(super) fn interest(pattern: &Pattern, group: Option<&GroupName>, protocol: u64) -> Key {
    match group {
        None => Key::of(Kind::TOPIC, pattern.shared(), protocol),
        Some(group) => {
            let name = format!("{pattern}{SEPARATOR}{group}");
            Key::of(Kind::GROUP, name.into(), protocol)
        }
    }
}

/// The key under which an actor is put.
pub(super) fn path(path: &Path, protocol: u64) -> Key {
    Key::of(Kind::PATH, path.0.clone(), protocol)
}

/// What a key of pub-sub says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning<'a> {
    /// The pattern or the path.
    pub(super) text: &'a str,
    pub(super) group: Option<&'a str>,
    pub(super) is_path: bool,
}

impl<'a> Meaning<'a> {
    /// What a key says that was checked before; `None` if it is not one of pub-sub.
    pub(super) fn of(key: &'a Key) -> Option<Self> {
        let (text, group) = match key.kind() {
            Kind::TOPIC | Kind::PATH => (key.name(), None),
            Kind::GROUP => {
                let (text, group) = key.name().split_once(SEPARATOR)?;
                (text, Some(group))
            }
            _ => return None,
        };
        let is_path = key.kind() == Kind::PATH;
        Some(Self {
            text,
            group,
            is_path,
        })
    }

    /// The shape of the pattern, if it has wildcards.
    pub(super) fn shape(&self) -> Option<Shape> {
        Shape::of(self.text).filter(|_| !self.is_path)
    }

    /// Whether it is what an owner that keeps the rules would announce.
    pub(super) fn is_sound(&self) -> bool {
        let is_group = self.group.is_none_or(|it| check_group(it).is_ok());
        is_group && (self.is_path || check(self.text).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_was_made_of() {
        let pattern = Pattern::new("orders.*").expect("a pattern");
        let group = GroupName::new("w").expect("a group");
        let topic = interest(&pattern, None, 7);
        let meaning = Meaning::of(&topic).expect("one of pub-sub");
        assert_eq!((meaning.text, meaning.group), ("orders.*", None));
        let grouped = interest(&pattern, Some(&group), 7);
        let meaning = Meaning::of(&grouped).expect("one of pub-sub");
        assert_eq!((meaning.text, meaning.group), ("orders.*", Some("w")));
        assert!(meaning.is_sound() && meaning.shape().is_some());
        assert!(topic != grouped && topic.protocol() == 7);
        let put = path(&Path::new("a/*").expect("a path"), 7);
        let meaning = Meaning::of(&put).expect("one of pub-sub");
        assert!(meaning.is_path && meaning.shape().is_none());
        let service = Key::new(Kind::SERVICE, "a", 7).expect("a key");
        assert_eq!(Meaning::of(&service), None);
    }

    #[test]
    fn what_no_owner_would_announce_is_not_sound() {
        for (kind, name) in [
            (Kind::TOPIC, "a..b"),
            (Kind::TOPIC, "a b"),
            (Kind::GROUP, "a.b "),
            (Kind::GROUP, " g"),
            (Kind::GROUP, "a.b g h"),
        ] {
            let key = Key::new(kind, name, 1).expect("a key");
            let meaning = Meaning::of(&key).expect("of pub-sub");
            assert!(!meaning.is_sound(), "{name}");
        }
        let key = Key::new(Kind::GROUP, "nothing", 1).expect("a key");
        assert_eq!(Meaning::of(&key), None);
    }
}
