//! What a member writes down of its view, and what waits for that.
//!
//! Others go by it that this member holds a view: so it says so only once that is written down,
//! and leads nobody before. What may be done because of that rests on it
//! ([`memory`](crate::membership::memory)). Whoever was given up writes nothing more: what it sees
//! from then on is not what the others decide.

use super::Active;
use crate::context::Context;
use crate::effect::Effect;
use crate::membership::memory::Memory;
use crate::membership::status::Status;

/// What was to be written down, and how far that is done.
#[derive(Debug, Default)]
pub(super) struct Notes {
    latest: Option<Memory>,
    number: u64,
    written: u64,
    /// The revision of the view that was looked at.
    looked: Option<u64>,
}

impl Notes {
    /// Whether all that was to be written down is.
    pub(super) fn are_written(&self) -> bool {
        self.number == self.written
    }
}

impl Active {
    /// Has what there is to remember of the view written down. After each change of the view, and
    /// before anybody is told of it.
    pub(super) fn remember(&mut self, cx: &mut Context<'_>) {
        let stays = self.own_status() < Status::Down;
        if !self.settings.remembers || !stays {
            return;
        }
        if self.notes.looked != Some(self.revision.view) {
            self.notes.looked = Some(self.revision.view);
            let memory = Memory::of(&self.view, &self.electorate);
            if self.notes.latest.as_ref() != Some(&memory) {
                self.notes.number += 1;
                self.notes.latest = Some(memory.clone());
                let number = self.notes.number;
                cx.out.push(Effect::Remember { number, memory });
            }
        }
        if !self.notes.are_written() {
            self.view.unsee(self.own.node.uid);
        }
    }

    pub(super) fn handle_remembered(&mut self, number: u64) {
        let notes = &mut self.notes;
        notes.written = notes.written.max(number.min(notes.number));
        if notes.are_written() && self.view.see(self.own.node.uid) {
            self.note_seen();
        }
    }
}
