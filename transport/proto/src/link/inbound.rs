//! The receiving half of a link.

use super::{Target, Violation};
use crate::frame::body::{DefineTarget, DefineType, Grant};
use crate::limits::{GRANT_EVERY_BYTES, TARGET_NUMBER_MAX, TYPE_NUMBER_MAX};
use crate::message::MessageType;

/// What one core received on a link: how far, up to where the peer may send, and what the peer's
/// numbers stand for.
///
/// Numbers are given in order, so a table never has more entries than definitions arrived: a peer
/// pays 28 bytes on the wire for each 16 it makes this side keep, and a high number out of turn is
/// a violation instead of an allocation.
#[derive(Debug)]
pub struct Inbound {
    window: u64,
    /// A grant is due after this many bytes.
    grant_every: u64,
    received: u64,
    /// Bytes of messages that wait for their handlers.
    held: u64,
    /// How far beyond the limit a frame may end.
    overdraft: u64,
    /// Held bytes that cost no credit.
    spared: u64,
    /// The last grant that was sent, or the offer of the handshake.
    granted: Grant,
    types: Vec<MessageType>,
    targets: Vec<Target>,
}

/// What a definition did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was remembered of a number that is given anew is no longer true"]
pub enum Defined {
    /// The number is new.
    New,
    /// The number stood for another recipient before.
    Anew,
}

impl Inbound {
    /// The receiving half of a new link, whose peer was offered `window_bytes` of credit.
    pub fn new(window_bytes: u32) -> Self {
        let window = u64::from(window_bytes);
        Self {
            window,
            grant_every: u64::from(GRANT_EVERY_BYTES).min(window / 4),
            received: 0,
            held: 0,
            overdraft: 0,
            spared: 0,
            granted: Grant {
                received_to: 0,
                limit: window,
            },
            types: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// The receiving half of a link within this process. A frame, with the definitions before it,
    /// may end `overdraft` bytes behind the limit: so one that is larger than the window passes,
    /// although each link has a small one.
    pub fn within_process(window_bytes: u32, overdraft: u32) -> Self {
        Self {
            overdraft: overdraft.into(),
            ..Self::new(window_bytes)
        }
    }

    /// That of a link which goes on, within this process, with what a peer may send. The peer is
    /// told too late that a recipient has no room if this side is behind: by then one and a half
    /// windows may be under way to it. So half a window of what is held costs no credit, and the
    /// other recipients keep some.
    pub fn of_tunnel(window_bytes: u32) -> Self {
        Self {
            spared: u64::from(window_bytes / 2),
            ..Self::new(window_bytes)
        }
    }

    /// Counts a positioned frame of `wire_bytes`, which is verified.
    ///
    /// # Errors
    /// [`Violation::BeyondLimit`] when the peer had no credit for it. Nothing is counted then.
    #[inline]
    pub fn accept(&mut self, wire_bytes: usize) -> Result<(), Violation> {
        let end = self.received + wire_bytes as u64;
        if end > self.granted.limit {
            self.check_overdraft(end)?;
        }
        self.received = end;
        Ok(())
    }

    /// Takes `bytes` off the credit to come: a message waits in a mailbox that is over its bound.
    /// They stay charged until [`release`](Self::release), and one and a half windows of them at
    /// most ever come to be; of a tunnel, two.
    #[inline]
    pub fn hold(&mut self, bytes: usize) {
        self.held += bytes as u64;
    }

    /// Gives back what [`hold`](Self::hold) took.
    #[inline]
    pub fn release(&mut self, bytes: usize) {
        debug_assert!(bytes as u64 <= self.held, "released more than was held");
        self.held = self.held.saturating_sub(bytes as u64);
    }

    /// Lets the peer send no more than it was granted. What arrives is acknowledged as before.
    pub fn grant_no_more(&mut self) {
        self.window = 0;
    }

    /// The grant to send now, if one is due: when 128 KiB or a quarter of the window came in, or,
    /// if `now_forced`, when anything changed. Call it with `now_forced` once at the end of a turn.
    #[inline]
    pub fn poll_grant(&mut self, now_forced: bool) -> Option<Grant> {
        let fresh = self.received - self.granted.received_to;
        if fresh < self.grant_every && !now_forced {
            return None;
        }
        self.make_grant()
    }

    /// Remembers what a type number stands for.
    ///
    /// # Errors
    /// [`Violation::TypeOutOfTurn`] when the number is not the next one.
    pub fn define_type(&mut self, definition: &DefineType) -> Result<(), Violation> {
        let number = definition.number;
        let next = self.types.len() + 1;
        if usize::from(number) != next || number > TYPE_NUMBER_MAX {
            return Err(Violation::TypeOutOfTurn(number));
        }
        self.types.push(definition.message);
        Ok(())
    }

    /// Remembers what a target number stands for.
    ///
    /// # Errors
    /// [`Violation::TargetOutOfTurn`] when the number is neither the next one nor one in use.
    pub fn define_target(&mut self, definition: &DefineTarget) -> Result<Defined, Violation> {
        let number = definition.number;
        let out_of_turn = Violation::TargetOutOfTurn(number);
        let index = (number as usize).checked_sub(1).ok_or(out_of_turn)?;
        if let Some(target) = self.targets.get_mut(index) {
            *target = definition.target;
            return Ok(Defined::Anew);
        }
        if index != self.targets.len() || number > TARGET_NUMBER_MAX {
            return Err(out_of_turn);
        }
        self.targets.push(definition.target);
        Ok(Defined::New)
    }

    /// What a type number stands for.
    ///
    /// # Errors
    /// [`Violation::UndefinedType`] when the peer did not say.
    pub fn message_type(&self, number: u16) -> Result<&MessageType, Violation> {
        let index = usize::from(number).checked_sub(1);
        index
            .and_then(|index| self.types.get(index))
            .ok_or(Violation::UndefinedType(number))
    }

    /// What a target number stands for.
    ///
    /// # Errors
    /// [`Violation::UndefinedTarget`] when the peer did not say.
    pub fn target(&self, number: u32) -> Result<Target, Violation> {
        let index = (number as usize).checked_sub(1);
        index
            .and_then(|index| self.targets.get(index).copied())
            .ok_or(Violation::UndefinedTarget(number))
    }

    /// The numbers that stand for a target. Looks at all of them.
    pub fn numbers_of(&self, target: Target) -> impl Iterator<Item = u32> {
        let numbers = (1..).zip(&self.targets);
        let of_target = numbers.filter(move |(_, other)| **other == target);
        of_target.map(|(number, _)| number)
    }

    /// Everything before this position was counted.
    pub fn received_to(&self) -> u64 {
        self.received
    }

    /// The limit the peer knows of, or will when the last grant arrives.
    pub fn limit(&self) -> u64 {
        self.granted.limit
    }

    /// Bytes of messages that wait for their handlers.
    pub fn held_bytes(&self) -> u64 {
        self.held
    }

    /// What is to be said at once on another connection: grants of the last one may be lost.
    pub fn restate(&mut self) -> Grant {
        self.make_grant();
        self.granted
    }

    fn make_grant(&mut self) -> Option<Grant> {
        let grant = Grant {
            received_to: self.received,
            // A limit that was granted cannot be taken back.
            limit: (self.received + self.credit()).max(self.granted.limit),
        };
        if grant == self.granted {
            return None;
        }
        self.granted = grant;
        Some(grant)
    }

    /// What the peer may send from here on: the window without what is held. Behind half a window
    /// each held byte costs half of one, so that messages for one recipient that takes none leave
    /// credit for the others; a peer that sends such messages all the same gets less and less, and
    /// nothing when one and a half windows are held.
    fn credit(&self) -> u64 {
        let half = self.window / 2;
        let held = self.held.saturating_sub(self.spared);
        if held <= half {
            self.window - held
        } else {
            (self.window + half).saturating_sub(held) / 2
        }
    }

    #[cold]
    fn check_overdraft(&self, end: u64) -> Result<(), Violation> {
        let limit = self.granted.limit;
        if end <= limit + self.overdraft {
            return Ok(());
        }
        Err(Violation::BeyondLimit { end, limit })
    }
}
