//! Data centres as the others see them: who speaks for each, and which cannot be reached.
//!
//! The oldest members of a data centre pass on what it knows, and watch those of the others. That
//! one of them reaches none of those over there may be its own fault, so it takes the word of all
//! of them that a data centre is out of reach. What they say is in the rows of the view, so all
//! members of a data centre come to know of it. Nothing else follows from it: who is in another
//! data centre is neither waited for nor given up from here.

use std::collections::BTreeSet;

use ringmesh_proto::address::Uid;

use super::convergence::Part;
use super::gossip::Gossip;
use super::member::Member;
use super::status::Status;

/// How many members of each data centre speak for it with the others.
pub const SPEAKERS: usize = 5;

/// Those of a data centre's `members` that speak for it, the oldest first: members in full that
/// were not given up.
pub fn speakers<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<&'a Member> {
    let is_fit = |it: &&Member| it.up_number().is_given() && it.status() != Status::Down;
    let mut oldest: Vec<&Member> = members.filter(is_fit).collect();
    oldest.sort_by(|a, b| a.by_age(b));
    oldest.truncate(SPEAKERS);
    oldest
}

/// Those of a data centre that pass on what others are to hear of it: its [`speakers`], and whoever
/// is in it while it has none.
pub fn speaking<'a, I>(members: impl Fn() -> I) -> Vec<&'a Member>
where
    I: Iterator<Item = &'a Member>,
{
    let speakers = speakers(members());
    match speakers.is_empty() {
        true => members().collect(),
        false => speakers,
    }
}

/// Those at `home` that watch other data centres, and whose word counts: who is accused there or on
/// its way out has no say. `own` is there for itself.
fn watchers<'a>(home: &Part<'a>, own: Uid, accused: &BTreeSet<Uid>) -> Vec<&'a Member> {
    let has_say = |it: &&Member| {
        let is_there = it.uid() == own || !accused.contains(&it.uid());
        is_there && !it.status().is_departing()
    };
    let speakers = speakers(home.members()).into_iter();
    speakers.filter(has_say).collect()
}

/// The other data centres.
fn others<'a>(gossip: &'a Gossip, home: &Part<'_>) -> BTreeSet<&'a str> {
    let names = gossip.members().map(|it| it.roles().data_centre());
    names.filter(|name| *name != home.data_centre()).collect()
}

/// All whose word says whether a data centre is there, or of whom it is said: those that watch from
/// `home`, and those that speak elsewhere. Nobody, if there is nothing elsewhere.
pub(super) fn concerned(gossip: &Gossip, home: &Part<'_>, own: Uid) -> BTreeSet<Uid> {
    let others = others(gossip, home);
    if others.is_empty() {
        return BTreeSet::new();
    }
    let there = others.into_iter();
    let there = there.flat_map(|name| speakers(Part::new(gossip, name).members()));
    let here = watchers(home, own, &home.accused());
    here.into_iter().chain(there).map(Member::uid).collect()
}

/// Which data centres cannot be reached from `home`.
///
/// One is out of reach when each that watches it from here says so of each it watches there. One
/// that was `dark` before stays so until somebody says otherwise: a member that `is_new` to that,
/// here or there, does not, for nobody has had the time to find anything out about it, or by it.
pub(super) fn out_of_reach(
    gossip: &Gossip,
    (home, own): (&Part<'_>, Uid),
    dark: &BTreeSet<Box<str>>,
    is_new: impl Fn(Uid) -> bool,
) -> BTreeSet<Box<str>> {
    let accused = home.accused();
    if accused.is_empty() && dark.is_empty() {
        return BTreeSet::new();
    }
    let watchers = watchers(home, own, &accused);
    let reachability = gossip.reachability();
    let is_dark = |name: &&str| {
        let there = speakers(Part::new(gossip, name).members());
        let reached = |is_sure: bool| {
            watchers.iter().any(|by| {
                there.iter().any(|it| {
                    let (by, it) = (by.uid(), it.uid());
                    let may_say = !is_sure || !(is_new(by) || is_new(it));
                    may_say && reachability.record(by, it).is_none()
                })
            })
        };
        let was_dark = dark.contains(*name);
        !there.is_empty() && (was_dark || !watchers.is_empty()) && !reached(was_dark)
    };
    let others = others(gossip, home).into_iter();
    others.filter(is_dark).map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{View, uid};
    use super::*;
    use crate::membership::reachability::Reason;

    /// Two members here, and two in the east.
    fn view() -> View {
        let mut view = View::of(&[(1, Status::Up), (2, Status::Up)]);
        view.add_in("east", 11, Status::Up);
        view.add_in("east", 12, Status::Up);
        view
    }

    fn accuse_all(view: &mut View, by: u64) {
        for it in [11, 12] {
            view.accuse(by, it, Reason::Silence);
        }
    }

    fn clear(view: &mut View, by: u64, subject: u64) {
        let table = view.gossip_mut().reachability_mut();
        assert!(table.clear(uid(by), uid(subject)));
    }

    /// Whether the east is out of reach as member 1 sees it.
    fn is_dark(view: &View, was_dark: bool, new: &[u64]) -> bool {
        let before = BTreeSet::from_iter(was_dark.then(|| Box::from("east")));
        let home = Part::new(view.gossip(), "default");
        let is_new = |it: Uid| new.contains(&it.as_u64());
        let dark = out_of_reach(view.gossip(), (&home, uid(1)), &before, is_new);
        assert!(dark.iter().all(|it| &**it == "east"));
        !dark.is_empty()
    }

    #[test]
    fn it_takes_the_word_of_all_that_watch_of_all_that_they_watch() {
        let mut view = view();
        accuse_all(&mut view, 1);
        assert!(!is_dark(&view, false, &[]), "2 reaches both");
        view.accuse(2, 11, Reason::Silence);
        assert!(!is_dark(&view, false, &[]), "2 reaches 12");
        view.accuse(2, 12, Reason::Silence);
        assert!(is_dark(&view, false, &[]));
        clear(&mut view, 2, 12);
        assert!(!is_dark(&view, true, &[]), "it is there again");
    }

    #[test]
    fn who_is_not_there_itself_has_no_say() {
        let mut view = view();
        accuse_all(&mut view, 1);
        view.accuse(1, 2, Reason::Silence);
        assert!(is_dark(&view, false, &[]));
        // Nobody counts itself out.
        view.accuse(2, 1, Reason::Silence);
        assert!(is_dark(&view, false, &[]));
        let mut view = self::view();
        accuse_all(&mut view, 1);
        view.set(2, Status::Down);
        assert!(is_dark(&view, false, &[]));
    }

    #[test]
    fn whoever_comes_in_while_it_is_dark_says_nothing_before_it_can_know() {
        let mut view = view();
        accuse_all(&mut view, 1);
        accuse_all(&mut view, 2);
        view.add_in("default", 3, Status::Up);
        assert!(is_dark(&view, true, &[3]) && !is_dark(&view, true, &[]));
        // Whoever hears of it first waits until it has spoken.
        assert!(!is_dark(&view, false, &[3]));
        view.add_in("east", 13, Status::Up);
        assert!(is_dark(&view, true, &[3, 13]) && !is_dark(&view, true, &[3]));
    }

    #[test]
    fn where_nobody_watches_or_nobody_is_left_nothing_goes_dark() {
        let view = View::of(&[(1, Status::Joining)]);
        assert!(!is_dark(&view, true, &[]));
        let mut view = view;
        view.add_in("east", 11, Status::Up);
        view.accuse(1, 11, Reason::Silence);
        assert!(!is_dark(&view, false, &[]));
        assert!(is_dark(&view, true, &[]), "nobody says otherwise");
        view.set(11, Status::Down);
        assert!(!is_dark(&view, true, &[]), "nobody is there any more");
    }

    #[test]
    fn what_other_data_centres_say_of_members_here_counts_for_nothing() {
        let mut view = view();
        accuse_all(&mut view, 1);
        accuse_all(&mut view, 2);
        for by in [11, 12] {
            for it in [1, 2] {
                view.accuse(by, it, Reason::Silence);
            }
        }
        let home = Part::new(view.gossip(), "default");
        assert!([1, 2].iter().all(|it| home.is_reachable(uid(*it))));
        assert!(home.blockers(&BTreeSet::new()).unreachable.is_empty());
        assert!(is_dark(&view, false, &[]));
    }
}
