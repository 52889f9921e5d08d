//! Patterns of the paths of actors: which names they match, and what that costs.
//!
//! A pattern is a path behind `/user/` in which `?` stands for any one character, `*` for any
//! number of them within one name, and `**`, as a whole name, for any number of names, none
//! included. Whoever asks another node chooses the pattern, so matching goes through no recursion
//! and no table that grows with it, and counts its steps: for one path, no more than the bytes of
//! the pattern times those of the path, and a few.

use std::ops::Bound;

use ringmesh_proto::address::{ParseAddressError, check_actor_path};
use ringmesh_proto::limits::ACTOR_DEPTH_MAX;

const DEEP: &str = "**";
const WILD: [char; 2] = ['*', '?'];

/// One that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern<'a> {
    names: Vec<&'a str>,
    /// The places of those that stand for any number of names.
    deep: u64,
    /// Every path that matches begins with this.
    prefix: &'a str,
}

// The set of the names of a pattern is the bits of a number.
const _: () = assert!(ACTOR_DEPTH_MAX < 64);

impl<'a> Pattern<'a> {
    /// # Errors
    /// When `text` is none: it has the bounds of a path, and its names have those of names.
    pub(crate) fn new(text: &'a str) -> Result<Self, ParseAddressError> {
        check_actor_path(text)?;
        let wild = text.find(WILD).unwrap_or(text.len());
        let prefix = &text[..wild];
        // The name before one that stands for none may be the last.
        let is_deep = is_deep_at(text, wild);
        let prefix = if is_deep {
            prefix.trim_end_matches('/')
        } else {
            prefix
        };
        let names: Vec<&str> = text.split('/').collect();
        let deep = names.iter().enumerate();
        let deep = deep.filter(|(_, name)| **name == DEEP);
        let deep = deep.fold(0, |set, (place, _)| set | 1 << place);
        Ok(Self {
            names,
            deep,
            prefix,
        })
    }

    /// Where the paths begin that may match, behind the path `after`.
    pub(crate) fn begin<'b>(&'b self, after: &'b str) -> Bound<&'b str> {
        if after.is_empty() || after < self.prefix {
            Bound::Included(self.prefix)
        } else {
            Bound::Excluded(after)
        }
    }

    /// Whether a path may match, and those behind it.
    pub(crate) fn may_match(&self, path: &str) -> bool {
        path.starts_with(self.prefix)
    }

    /// Whether a path matches. Adds up how many steps that took.
    pub(crate) fn matches(&self, path: &str, steps: &mut u64) -> bool {
        let mut reached = self.over_deep(1);
        for name in path.split('/') {
            let mut next = 0;
            for (place, wanted) in self.names.iter().enumerate() {
                *steps += 1;
                if reached & (1 << place) == 0 {
                    continue;
                }
                if self.deep & (1 << place) != 0 {
                    next |= 1 << place;
                } else if is_like(wanted, name, steps) {
                    next |= 1 << (place + 1);
                }
            }
            reached = self.over_deep(next);
            if reached == 0 {
                return false;
            }
        }
        reached & (1 << self.names.len()) != 0
    }

    /// The same set of places with those behind each `**` in it.
    fn over_deep(&self, mut reached: u64) -> u64 {
        loop {
            let more = reached | (reached & self.deep) << 1;
            if more == reached {
                return reached;
            }
            reached = more;
        }
    }
}

/// Whether the name of a pattern that begins at `place` is a `**`.
fn is_deep_at(text: &str, place: usize) -> bool {
    let begins = place == 0 || text[..place].ends_with('/');
    begins && text[place..].split('/').next() == Some(DEEP)
}

/// Whether a name is like one with wild cards. When what follows the last star does not fit, the
/// star takes one character more; those before it need not be tried again.
fn is_like(wanted: &str, name: &str, steps: &mut u64) -> bool {
    let (mut wanted, mut rest) = (wanted.chars(), name.chars());
    let mut star = None;
    loop {
        *steps += 1;
        let (mut wanted_on, mut rest_on) = (wanted.clone(), rest.clone());
        match (wanted_on.next(), rest_on.next()) {
            (Some('*'), _) => {
                wanted = wanted_on;
                star = Some((wanted.clone(), rest.clone()));
            }
            (Some(one), Some(other)) if one == '?' || one == other => {
                (wanted, rest) = (wanted_on, rest_on);
            }
            (None, None) => return true,
            _ => {
                let Some((behind, from)) = &mut star else {
                    return false;
                };
                if from.next().is_none() {
                    return false;
                }
                (wanted, rest) = (behind.clone(), from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::new(pattern).expect("a pattern");
        let matches = pattern.matches(path, &mut 0);
        assert!(!matches || pattern.may_match(path), "{pattern:?} {path}");
        matches
    }

    #[test]
    fn stars_stay_within_a_name_but_for_two_that_are_one() {
        for (pattern, path, wanted) in [
            ("a", "a", true),
            ("a", "a/b", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", false),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "ab", false),
            ("**/c", "a/b/c", true),
            ("**", "a/b", true),
            ("a/**/c", "a/c", true),
            ("a/**/**/c", "a/b/c", true),
            ("w*-?", "worker-7", true),
            ("w*-?", "worker-77", false),
            ("?", "ü", true),
            ("*ü*", "grün", true),
            ("a**b", "axb", true),
            ("a**b", "ax/xb", false),
            ("*", "*", true),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn one_over_the_bounds_of_a_path_is_no_pattern() {
        let deep = |names: usize| vec!["*"; names].join("/");
        assert!(Pattern::new(&deep(32)).is_ok());
        let error = ParseAddressError::ActorPath;
        assert_eq!(Pattern::new(&deep(33)), Err(error));
        assert_eq!(
            Pattern::new(&"*".repeat(256)).map(drop),
            Err(ParseAddressError::ActorName)
        );
        for none in ["", "a//b", "a#1", "/a", "a/\n"] {
            assert!(Pattern::new(none).is_err(), "{none}");
        }
    }

    #[test]
    fn the_worst_of_patterns_takes_no_more_steps_than_its_bytes_times_those_of_the_path() {
        let name = "a".repeat(255);
        let path = [&*name; 4].join("/");
        let hostile = format!("*{}b", "a".repeat(120));
        let pattern = ["**", &hostile, "**", &hostile, "**", &hostile, "**"].join("/");
        let mut steps = 0;
        assert!(!Pattern::new(&pattern).unwrap().matches(&path, &mut steps));
        let most = (pattern.len() + 64) * (path.len() + 64);
        assert!(steps <= most as u64, "{steps}");
        assert!(steps > 50_000, "{steps}, which is no test of it");
    }

    /// The definition, tried in every way.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern, path) {
            ([], _) => path.is_empty(),
            ([DEEP, rest @ ..], _) => (0..=path.len()).any(|skip| naive(rest, &path[skip..])),
            ([wanted, rest @ ..], [name, on @ ..]) => {
                let (wanted, name): (Vec<char>, Vec<char>) =
                    (wanted.chars().collect(), name.chars().collect());
                naive_name(&wanted, &name) && naive(rest, on)
            }
            _ => false,
        }
    }

    fn naive_name(wanted: &[char], name: &[char]) -> bool {
        match (wanted, name) {
            ([], _) => name.is_empty(),
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| naive_name(rest, &name[skip..])),
            ([one, rest @ ..], [other, on @ ..]) => {
                (*one == '?' || one == other) && naive_name(rest, on)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_pattern_matches_what_the_definition_says(
            pattern in "(\\*\\*|[ab*?ü]{1,5})(/(\\*\\*|[ab*?ü]{1,5})){0,4}",
            path in "[abü]{1,5}(/[abü]{1,5}){0,4}",
        ) {
            let names: Vec<&str> = path.split('/').collect();
            let wanted: Vec<&str> = pattern.split('/').collect();
            prop_assert_eq!(matches(&pattern, &path), naive(&wanted, &names));
        }
    }
}
