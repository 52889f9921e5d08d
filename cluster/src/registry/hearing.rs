//! What a registry does with what others tell it.

use std::sync::Arc;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::border::{Route, Sending};
use super::entry::{Change, Entry, EntryId};
use super::limits::{BYTES_MAX, ENTRIES_MAX};
use super::message::{Body, Message};
use super::relayed::Relayed;
use super::remote::{Progress, Remote};
use super::table::Full;
use super::{Registry, RegistryOutput};
use crate::codec::CodecError;

impl Registry {
    /// Takes a message of another registry, or parks it.
    pub(super) fn hear(
        &mut self,
        now: Instant,
        from: &NodeId,
        body: &[u8],
        out: &mut Vec<RegistryOutput>,
    ) -> Result<(), CodecError> {
        if Relayed::is_one(body) {
            return self.hear_relayed(now, from, body, out);
        }
        self.hear_over(now, from, (body, None), out)
    }

    /// Takes a message, and answers over the way that it came.
    pub(super) fn hear_over(
        &mut self,
        now: Instant,
        from: &NodeId,
        (body, route): (&[u8], Option<Route>),
        out: &mut Vec<RegistryOutput>,
    ) -> Result<(), CodecError> {
        let message = Message::from_bytes(body)?;
        if message.to != self.own.uid {
            self.counters.misdirected += 1;
            return Ok(());
        }
        let uid = from.uid;
        let Some(remote) = self.remotes.get_mut(&uid) else {
            self.parked.put(now, (uid, from), body);
            return Ok(());
        };
        let latest = message.latest;
        remote.handle_latest(latest);
        match message.body {
            Body::Check { sum } => self.handle_check(uid, sum, out),
            Body::Digest {
                is_question,
                versions,
            } => self.handle_digest(now, uid, is_question, &versions, out),
            Body::Ask { from, after } => self.answer((uid, route), from, after, out),
            Body::Delta {
                from,
                is_to_be_confirmed,
                changes,
            } => {
                self.handle_delta(uid, from, &changes);
                if is_to_be_confirmed {
                    self.confirm((uid, route), from + changes.len() as u64, out);
                }
            }
            Body::Chunk {
                after,
                is_last,
                is_to_be_confirmed,
                entries,
            } => {
                self.handle_chunk(uid, latest, after, is_last, &entries);
                if is_to_be_confirmed {
                    self.confirm((uid, route), latest, out);
                }
            }
            Body::Confirm { counter } => self.handle_confirm(uid, counter),
        }
        self.ask(now, uid, out);
        Ok(())
    }

    fn handle_check(&mut self, from: Uid, sum: u64, out: &mut Vec<RegistryOutput>) {
        if sum != self.sum() {
            let digest = Body::Digest {
                is_question: true,
                versions: self.versions().into_iter().collect(),
            };
            self.send(from, digest, out);
        }
    }

    fn handle_digest(
        &mut self,
        now: Instant,
        from: Uid,
        is_question: bool,
        theirs: &[(Uid, u64)],
        out: &mut Vec<RegistryOutput>,
    ) {
        for &(owner, counter) in theirs {
            if owner == self.own.uid {
                self.counters.ahead += u64::from(counter > self.owned.told().counter);
            } else if let Some(remote) = self.remotes.get_mut(&owner) {
                remote.handle_rumour(now, counter);
                self.ask(now, owner, out);
            }
        }
        let mine = self.versions();
        let is_known = |(owner, counter): (&Uid, &u64)| {
            let place = theirs.binary_search_by_key(owner, |it| it.0);
            place.is_ok_and(|place| theirs[place].1 >= *counter)
        };
        if is_question && !mine.iter().all(is_known) {
            let digest = Body::Digest {
                is_question: false,
                versions: mine.into_iter().collect(),
            };
            self.send(from, digest, out);
        }
    }

    /// Another node asks for what follows in this node's table.
    fn answer(
        &mut self,
        (to, route): (Uid, Option<Route>),
        from: u64,
        after: EntryId,
        out: &mut Vec<RegistryOutput>,
    ) {
        if from > self.owned.told().counter {
            self.counters.ahead += 1;
            return;
        }
        let is_to_be_confirmed = self.acknowledging.waits_for(to);
        let changes = self.owned.changes_after(from);
        let body = match changes.filter(|_| after == EntryId(0)) {
            Some(changes) => Body::Delta {
                from,
                is_to_be_confirmed,
                changes,
            },
            None => {
                let (entries, is_last) = self.owned.entries_after(after);
                Body::Chunk {
                    after,
                    is_last,
                    is_to_be_confirmed,
                    entries,
                }
            }
        };
        self.send_by(to, Sending::answer(route), body, out);
    }

    fn handle_delta(&mut self, uid: Uid, from: u64, changes: &[Change]) {
        let bytes = changes.iter().map(Change::bytes).sum();
        let has_room = self.has_room(changes.len(), bytes);
        let Some(remote) = self.remotes.get_mut(&uid) else {
            return;
        };
        self.counters.gaps += u64::from(from > remote.table.counter);
        let progress = if has_room {
            remote.handle_delta(from, changes)
        } else {
            Err(Full)
        };
        self.follow(uid, progress);
    }

    fn handle_chunk(
        &mut self,
        uid: Uid,
        latest: u64,
        after: EntryId,
        is_last: bool,
        entries: &[Arc<Entry>],
    ) {
        let bytes = entries.iter().map(|it| it.bytes()).sum();
        let has_room = self.has_room(entries.len(), bytes);
        let Some(remote) = self.remotes.get_mut(&uid) else {
            return;
        };
        let progress = if has_room {
            remote.handle_chunk(latest, after, is_last, entries)
        } else {
            Err(Full)
        };
        let is_wanted = !matches!(&progress, Ok(progress) if !progress.has_moved);
        self.counters.unwanted += u64::from(!is_wanted);
        self.follow(uid, progress);
    }

    /// An owner's message was taken, or there was no room for it.
    fn follow(&mut self, uid: Uid, progress: Result<Progress, Full>) {
        match progress {
            Ok(progress) => {
                if progress.has_moved {
                    // What still lacks is asked for at once.
                    self.asked.remove(&uid);
                }
                if !progress.steps.is_empty() {
                    self.note_steps(uid, progress.steps);
                }
            }
            Err(Full) => self.counters.over += 1,
        }
    }

    /// An owner wants to know when all cores here have that version of its table.
    fn confirm(
        &mut self,
        (uid, route): (Uid, Option<Route>),
        counter: u64,
        out: &mut Vec<RegistryOutput>,
    ) {
        if let Some(remote) = self.remotes.get_mut(&uid) {
            remote.wants_confirmed(counter, route);
            self.confirm_to(uid, out);
        }
    }

    /// Tells an owner what all cores here have applied, if it wants to know.
    pub(super) fn confirm_to(&mut self, uid: Uid, out: &mut Vec<RegistryOutput>) {
        let confirmation = self.remotes.get_mut(&uid).and_then(Remote::confirmation);
        if let Some((counter, route)) = confirmation {
            self.send_by(uid, Sending::answer(route), Body::Confirm { counter }, out);
        }
    }

    fn handle_confirm(&mut self, uid: Uid, counter: u64) {
        if counter > self.owned.told().counter {
            self.counters.ahead += 1;
        } else {
            self.acknowledging.handle_confirmed(uid, counter);
        }
    }

    /// Whether as many more entries of other owners may be held.
    fn has_room(&self, entries: usize, bytes: usize) -> bool {
        let sizes = self.remotes.values().map(|it| it.size());
        let sum = |sum: (usize, usize), it: (usize, usize)| (sum.0 + it.0, sum.1 + it.1);
        let held = sizes.fold((entries, bytes), sum);
        held.0 <= ENTRIES_MAX && held.1 <= BYTES_MAX
    }
}
