//! What a directory answers of the names that match a pattern: a page at a time, so that no turn of
//! its core is longer for a node with many names, or for a pattern that is hard to match.

use ringmesh_proto::address::CoreId;

use super::Core;
use super::shared::Named;
use crate::directory::{Selected, Spot, Verdict};
use crate::pattern::Pattern;

/// Actors that one answer names.
const MATCHES_PER_PAGE: usize = 64;

/// Names that are looked at for one answer, and steps of matching them: whichever is used up first.
/// One name may take more steps than that, which ends the page.
const NAMES_PER_PAGE: usize = 1 << 8;
const STEPS_PER_PAGE: u64 = 1 << 13;

/// A page of the names that match.
#[derive(Debug, Default)]
pub(super) struct Page {
    named: Vec<Named>,
    /// The last name that was looked at; `None` when there are no more.
    last: Option<Box<str>>,
}

impl Page {
    /// Looks at names in their order, each with where it lives.
    pub(super) fn of<'a>(
        names: impl Iterator<Item = (&'a str, &'a Named)>,
        pattern: &Pattern<'_>,
        protocol: u64,
    ) -> Self {
        let mut page = Self::default();
        let (mut looked, mut steps) = (0, 0);
        for (name, named) in names.take_while(|(name, _)| pattern.may_match(name)) {
            looked += 1;
            let is_one = !named.ending && named.protocol.as_u64() == protocol;
            if is_one && pattern.matches(name, &mut steps) {
                page.named.push(*named);
            }
            let is_full = page.named.len() >= MATCHES_PER_PAGE;
            if is_full || looked >= NAMES_PER_PAGE || steps >= STEPS_PER_PAGE {
                page.last = Some(Box::from(name));
                break;
            }
        }
        page
    }
}

impl Core {
    /// What the directory answers for a pattern, behind the name `after`.
    pub(crate) fn select_named(&self, pattern: &str, after: &str, protocol: u64) -> Selected {
        let Ok(pattern) = Pattern::new(pattern) else {
            return Selected::nothing(Verdict::NoPattern);
        };
        if after.is_empty() {
            self.tally.selections.add(1);
        }
        let page = self.shared.page_of_names(&pattern, after, protocol);
        self.tally.selected.add(page.named.len() as u64);
        let spot = |named: &Named| {
            let Named {
                core: CoreId(core),
                slot,
                generation,
                ..
            } = *named;
            Spot {
                core,
                slot,
                generation,
            }
        };
        Selected {
            verdict: Verdict::Looked,
            spots: page.named.iter().map(spot).collect(),
            last: page.last.map(String::from).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ops::Bound;

    use ringmesh_proto::message::ProtocolId;

    use super::*;

    fn named(slot: u32) -> Named {
        Named {
            core: CoreId(0),
            slot,
            generation: u64::from(slot),
            protocol: ProtocolId::of("demo.names"),
            ending: false,
        }
    }

    fn page(names: &BTreeMap<String, Named>, pattern: &str, after: &str) -> Page {
        let pattern = Pattern::new(pattern).expect("a pattern");
        let names = names.range::<str, _>((pattern.begin(after), Bound::Unbounded));
        let protocol = ProtocolId::of("demo.names").as_u64();
        Page::of(names.map(|(name, it)| (&**name, it)), &pattern, protocol)
    }

    /// The slots that all pages together name, and how many pages there are.
    fn all(names: &BTreeMap<String, Named>, pattern: &str) -> (Vec<u32>, usize) {
        let (mut slots, mut pages, mut after) = (Vec::new(), 0, String::new());
        loop {
            let page = page(names, pattern, &after);
            assert!(page.named.len() <= MATCHES_PER_PAGE);
            slots.extend(page.named.iter().map(|it| it.slot));
            pages += 1;
            match page.last {
                Some(last) => after = last.into(),
                None => return (slots, pages),
            }
        }
    }

    #[test]
    fn one_over_a_page_is_on_the_next() {
        let count = u32::try_from(MATCHES_PER_PAGE).unwrap();
        let names = |count: u32| (0..count).map(|it| (format!("a/{it:06}"), named(it)));
        let few: BTreeMap<_, _> = names(count - 1).collect();
        assert_eq!(all(&few, "a/*"), ((0..count - 1).collect(), 1));
        let more: BTreeMap<_, _> = names(count + 1).collect();
        assert_eq!(all(&more, "**"), ((0..=count).collect(), 2));
        let looked = u32::try_from(NAMES_PER_PAGE).unwrap();
        let many: BTreeMap<_, _> = names(12 * looked + 1).collect();
        let (slots, pages) = all(&many, "a/*7777");
        assert_eq!(
            (slots.len(), pages),
            (0, 13),
            "names that do not match are looked at"
        );
        assert_eq!(all(&many, "a/002*").0.len(), 1000);
        assert_eq!(all(&many, "a/000001"), (vec![1], 1));
    }

    #[test]
    fn names_of_others_and_of_those_who_end_are_passed_over() {
        let mut names = BTreeMap::from([("a".to_owned(), named(1)), ("b".to_owned(), named(2))]);
        names.insert(
            "c".to_owned(),
            Named {
                ending: true,
                ..named(3)
            },
        );
        let protocol = ProtocolId::of("demo.other");
        names.insert(
            "d".to_owned(),
            Named {
                protocol,
                ..named(4)
            },
        );
        assert_eq!(all(&names, "?"), (vec![1, 2], 1));
        assert_eq!(all(&names, "c"), (vec![], 1));
    }

    #[test]
    fn a_pattern_that_is_hard_to_match_takes_more_pages_and_no_longer_turns() {
        let name = |it: u32| format!("{}{it:03}", "a".repeat(240));
        let names: BTreeMap<_, _> = (0..100).map(|it| (name(it), named(it))).collect();
        let (slots, pages) = all(&names, &format!("{}*", "*a".repeat(60)));
        assert!(slots.len() == 100 && pages > 2, "{pages}");
        let (slots, pages) = all(&names, &format!("*{}b", "a".repeat(100)));
        assert!(slots.is_empty() && pages > 10, "{pages}");
    }
}
