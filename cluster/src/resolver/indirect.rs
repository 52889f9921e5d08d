//! Members that are there, though not for all.
//!
//! Somebody cannot reach a member, and yet it is alive and in touch with this side: the two cannot
//! stay together, but either could stay. Whoever goes is chosen so that few have to: the one that
//! most others cannot reach, or that cannot reach most others, first. So a link that broke costs
//! one of its two ends, a member whose line went dead costs itself alone, and of two sides that
//! only some members in the middle still see, the smaller one goes.
//!
//! This looks for a small vertex cover of the graph of broken links, greedily by degree; see
//! Cormen, Leiserson, Rivest and Stein, "Introduction to Algorithms", on approximation. Akka's
//! resolver downs both ends of each.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_proto::address::Uid;

use super::split::{Party, Side};

/// Says where each of the parties stands. `seen` hold the current version of the view.
pub(super) fn part(parties: &mut [Party], seen: &BTreeSet<Uid>) {
    let gone = cover(parties, seen);
    for party in parties.iter_mut().filter(|it| it.side == Side::Here) {
        if gone.contains(&party.uid()) {
            party.side = Side::Indirect;
        } else if is_lost(party, &gone) {
            party.side = Side::Lost;
        }
    }
}

fn is_lost(party: &Party, gone: &BTreeSet<Uid>) -> bool {
    let is_heeded = |(observer, _): &(Uid, _)| !gone.contains(observer);
    !party.member.status().is_departing() && party.accusers.iter().any(is_heeded)
}

/// Links that are broken between members that are both alive.
type Broken = BTreeMap<Uid, BTreeSet<Uid>>;

fn cover(parties: &[Party], seen: &BTreeSet<Uid>) -> BTreeSet<Uid> {
    let mut broken = broken(parties, seen);
    let mut gone = BTreeSet::new();
    while let Some(worst) = worst(parties, &broken) {
        for other in broken.remove(&worst).unwrap_or_default() {
            if let Some(links) = broken.get_mut(&other) {
                links.remove(&worst);
            }
        }
        gone.insert(worst);
    }
    gone
}

fn broken(parties: &[Party], seen: &BTreeSet<Uid>) -> Broken {
    let waited_for = || {
        parties
            .iter()
            .filter(|it| !it.member.status().is_departing())
    };
    let observers = waited_for().flat_map(|it| it.accusers.iter().map(|(observer, _)| *observer));
    let observers: BTreeSet<Uid> = observers.collect();
    let unaccused = parties
        .iter()
        .filter(|it| it.accusers.is_empty() && it.side == Side::Here);
    let unaccused: BTreeSet<Uid> = unaccused.map(Party::uid).collect();
    let mut broken = Broken::new();
    for party in waited_for() {
        let uid = party.uid();
        let is_alive = seen.contains(&uid) || observers.contains(&uid);
        if !is_alive && !is_heard(party, &unaccused) {
            continue;
        }
        for (observer, _) in &party.accusers {
            broken.entry(uid).or_default().insert(*observer);
            broken.entry(*observer).or_default().insert(uid);
        }
    }
    broken
}

/// Whether one whose word counts said that it hears the member, and has not changed its mind.
fn is_heard(party: &Party, unaccused: &BTreeSet<Uid>) -> bool {
    let accuses = |uid: Uid| party.accusers.iter().any(|(observer, _)| *observer == uid);
    let mut witnesses = party
        .accusers
        .iter()
        .flat_map(|(_, record)| &record.witnesses);
    witnesses.any(|it| it.hears && unaccused.contains(&it.observer) && !accuses(it.observer))
}

/// The one with most broken links; of several, one that is no member in full, and the last by
/// address.
fn worst(parties: &[Party], broken: &Broken) -> Option<Uid> {
    let links = |party: &Party| broken.get(&party.uid()).map_or(0, BTreeSet::len);
    let with_links = parties.iter().enumerate().filter(|(_, it)| links(it) > 0);
    let worst = with_links.max_by_key(|(at, it)| (links(it), !it.is_counted(), *at));
    worst.map(|(_, it)| it.uid())
}
