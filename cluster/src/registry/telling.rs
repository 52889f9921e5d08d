//! How an owner tells the others, and cores, what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::border::Sending;
use super::limits::{FEW_MEMBERS, PUBLISH_EVERY};
use super::message::{Body, Message};
use super::remote::Remote;
use super::snapshot::{Difference, Listing, Publication, Snapshot, Standing};
use super::table::Step;
use super::{Registry, RegistryOutput};
use crate::context::Random;
use crate::effect::Class;

impl Registry {
    /// What this node announces has changed: it is told at once if nothing was for a while, and
    /// else with what follows.
    pub(super) fn touch(&mut self, now: Instant, out: &mut Vec<RegistryOutput>) {
        if self.owned.is_touched() && self.tell.is_none() {
            let is_few = self.remotes.len() < FEW_MEMBERS;
            let settings = &self.settings;
            let batch = if is_few {
                settings.batch
            } else {
                settings.batch_many
            };
            let due = self.told.map_or(now, |told| now.max(told + batch));
            self.tell = Some(due);
        }
        if self.tell.is_some_and(|due| due <= now) {
            self.tell(now, out);
        }
        self.finish(now, out);
    }

    /// Tells all members what changed.
    pub(super) fn tell(&mut self, now: Instant, out: &mut Vec<RegistryOutput>) {
        self.tell = None;
        let from = self.owned.told().counter;
        let steps = self.owned.flush();
        let latest = self.owned.told().counter;
        self.acknowledging.handle_told(now, latest);
        if steps.is_empty() {
            return;
        }
        self.told = Some(now);
        self.note_steps(self.own.uid, steps);
        // Others may send by what they are told before a message of theirs is read here.
        self.publish = Some(now);
        // What does not fit is asked for by each of them, at its pace.
        let changes = self.owned.changes_after(from);
        let (from, changes) = changes.map_or((latest, Vec::new()), |it| (from, it));
        let delta = |is_to_be_confirmed| Body::Delta {
            from,
            is_to_be_confirmed,
            changes: changes.clone(),
        };
        let here = self.remotes.iter().filter(|it| it.1.home.is_none());
        let here = here.filter(|it| !it.1.is_departing);
        let here: Vec<Uid> = here.map(|it| *it.0).collect();
        for to in here {
            self.send(to, delta(self.acknowledging.waits_for(to)), out);
        }
        self.tell_elsewhere(now, delta, out);
    }

    /// Asks those that have something to confirm for it.
    pub(super) fn remind(&mut self, out: &mut Vec<RegistryOutput>) {
        let from = self.owned.told().counter;
        self.border.turn();
        let silent = self.remotes.keys();
        let silent = silent.filter(|uid| self.acknowledging.waits_for(**uid));
        let silent: Vec<Uid> = silent.copied().collect();
        for to in silent {
            let delta = Body::Delta {
                from,
                is_to_be_confirmed: true,
                changes: Vec::new(),
            };
            self.send_by(to, Sending::Again, delta, out);
        }
    }

    /// Asks one of those that can be reached, and that this node has a link with anyway, whether it
    /// has the same tables.
    pub(super) fn check_another(&mut self, random: &mut Random, out: &mut Vec<RegistryOutput>) {
        let others = self.remotes.values().filter(|it| it.is_within_reach());
        let others = others.filter(|it| self.is_near(it.home.as_ref(), it.node.uid));
        let (mut others, elsewhere): (Vec<&Remote>, _) = others.partition(|it| it.home.is_none());
        // Few of many have links over the border: what is lost there, they find out.
        if !elsewhere.is_empty() && (others.is_empty() || random.chance(50)) {
            others = elsewhere;
        }
        if let Some(to) = others.get(random.below(others.len())) {
            let to = to.node.uid;
            self.send(to, Body::Check { sum: self.sum() }, out);
        }
    }

    /// The versions of all tables that are not as they begin, by owner.
    pub(super) fn versions(&self) -> BTreeMap<Uid, u64> {
        let own = (self.own.uid, self.owned.told().counter);
        let others = self.remotes.iter();
        let others = others.map(|(uid, it)| (*uid, it.table.counter));
        others.chain([own]).filter(|it| it.1 > 0).collect()
    }

    /// A number that is the same for the same versions.
    pub(super) fn sum(&self) -> u64 {
        let mix = |(uid, counter): (Uid, u64)| {
            let owner = Random::new(uid.as_u64()).next_u64();
            Random::new(owner ^ counter).next_u64()
        };
        let versions = self.versions().into_iter();
        versions.map(mix).fold(0, u64::wrapping_add)
    }

    pub(super) fn send(&mut self, to: Uid, body: Body, out: &mut Vec<RegistryOutput>) {
        self.send_by(to, Sending::Usual, body, out);
    }

    /// Sends a message; to other data centres as is said.
    pub(super) fn send_by(
        &mut self,
        to: Uid,
        sending: Sending,
        body: Body,
        out: &mut Vec<RegistryOutput>,
    ) {
        let Some(remote) = self.remotes.get(&to) else {
            return;
        };
        let latest = self.owned.told().counter;
        let body = Message { to, latest, body }.to_bytes();
        match &remote.home {
            Some(home) if !(sending.is_usual() && self.is_near(Some(home), to)) => {
                let home = Arc::clone(home);
                self.send_over(&home, sending, (false, &body), out);
            }
            _ => out.push(RegistryOutput::Send {
                to: remote.node.clone(),
                class: Class::Table,
                body,
            }),
        }
    }

    /// A table has changed.
    pub(super) fn note_steps(&mut self, owner: Uid, steps: Vec<Step>) {
        self.news.insert(owner);
        let steps = steps.into_iter();
        self.differences.extend(steps.map(|step| Difference::Entry {
            owner,
            before: step.before,
            after: step.after,
        }));
    }

    /// Whether the entries of an owner count has changed.
    pub(super) fn note_standing(&mut self, owner: Uid, standing: Option<Standing>) {
        self.news.insert(owner);
        let difference = Difference::Standing { owner, standing };
        self.differences.push(difference);
    }

    /// What follows from whatever happened: answers to those who wait, and a snapshot.
    pub(super) fn finish(&mut self, now: Instant, out: &mut Vec<RegistryOutput>) {
        self.settle(now);
        if !self.news.is_empty() && self.publish.is_none() {
            let due = self
                .published
                .map_or(now, |last| now.max(last + PUBLISH_EVERY));
            self.publish = Some(due);
        }
        if self.publish.is_some_and(|due| due <= now) {
            self.publish(now, out);
        }
        let ended = self.acknowledging.ended(now).into_iter();
        out.extend(ended.map(RegistryOutput::Acknowledged));
    }

    fn settle(&mut self, now: Instant) {
        let Some(by) = self.settle.filter(|_| !self.is_settled) else {
            return;
        };
        let mut others = self.remotes.values().filter(|it| it.is_within_reach());
        if by <= now || others.all(|it| it.is_exchanged) {
            self.is_settled = true;
            self.news.insert(self.own.uid);
        }
    }

    fn publish(&mut self, now: Instant, out: &mut Vec<RegistryOutput>) {
        self.publish = None;
        self.published = Some(now);
        let mut listings = self.snapshot.listings.clone();
        for owner in std::mem::take(&mut self.news) {
            match self.listing(owner) {
                Some(listing) => listings.insert(owner, Arc::new(listing)),
                None => listings.remove(&owner),
            };
        }
        self.snapshot = Arc::new(Snapshot {
            version: self.snapshot.version + 1,
            is_settled: self.is_settled,
            listings,
        });
        out.push(RegistryOutput::Publish(Publication {
            snapshot: Arc::clone(&self.snapshot),
            differences: std::mem::take(&mut self.differences),
        }));
    }

    pub(super) fn listing(&self, owner: Uid) -> Option<Listing> {
        let (node, table, standing) = if owner == self.own.uid {
            let standing = if self.is_leaving {
                Standing::Apart
            } else {
                Standing::Reachable
            };
            (&self.own, self.owned.told(), standing)
        } else {
            let remote = self.remotes.get(&owner)?;
            (&remote.node, &remote.table, remote.standing)
        };
        Some(Listing {
            owner: node.clone(),
            counter: table.counter,
            standing,
            shelves: Arc::clone(table.shelves()),
        })
    }
}
