//! How it is known what the last token is: looked up, noted, and missed where it fell.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::super::{Resolver, ResolverOutput};
use super::{Leasing, Purpose};
use crate::lease::Token;
use crate::membership::Warrant;

/// How often the last token is looked up while all is well: so it is known in time that a store
/// fell back, or that somebody was given the lease and is gone.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(60);

impl Leasing {
    /// Whether nobody had the lease between the last one that is known and this one.
    pub(super) fn follows(&self, token: Token) -> bool {
        let next = self.known.and_then(|it| it.token.0.checked_add(1));
        next == Some(token.0)
    }

    /// A token by which this member decided nothing, once it follows upon the last that is known.
    pub(super) fn take_unused(&mut self) -> Option<Token> {
        let known = self.known.map(|it| it.token);
        self.unused.take_if(|it| known >= Some(*it));
        let unused = self.unused?;
        self.follows(unused).then(|| self.unused.take())?
    }

    /// That token is the last one. What follows upon a larger one that is known stays what may go
    /// on: a side that was cut off before may know the tokens that the store gives once more.
    pub(super) fn count(&mut self, now: Instant, token: Token, out: &mut Vec<ResolverOutput>) {
        self.heard = None;
        self.purpose = Purpose::Nothing;
        self.looks_at = Some(now + LOOK_EVERY);
        self.is_stale = false;
        let known = self.known.map(|it| it.token);
        if known.is_none_or(|known| known < token) {
            let changes = self.changes;
            self.is_stale = true;
            self.purpose = Purpose::Counted { token, changes };
            out.push(ResolverOutput::Refresh);
        }
        match known {
            Some(known) if known == token => self.fallen = None,
            _ => drop(self.is_fallen(token, out)),
        }
    }

    /// Whether the store fell back to that token, by which it was given, or which is its last one.
    pub(super) fn is_fallen(&mut self, token: Token, out: &mut Vec<ResolverOutput>) -> bool {
        let known = self.known.map(|it| it.token);
        let fallen = known.filter(|known| token <= *known).map(|_| token);
        let before = std::mem::replace(&mut self.fallen, fallen);
        if let Some(known) = known.filter(|_| fallen.is_some() && before.is_none()) {
            let (lease, last) = (self.terms.name.clone(), token);
            out.push(ResolverOutput::Fallen { lease, known, last });
        }
        fallen.is_some()
    }
}

impl Resolver {
    /// Looks up the last token, if that may be another than the one known, and it is time.
    pub(super) fn look_up(&mut self, now: Instant, out: &mut Vec<ResolverOutput>) {
        let Some(leasing) = &mut self.leasing else {
            return;
        };
        leasing.is_stale |= leasing.looks_at.take_if(|at| *at <= now).is_some();
        let is_idle = matches!(leasing.purpose, Purpose::Nothing);
        if leasing.is_calm && is_idle && !leasing.is_stale {
            // Whoever acts for all since a moment ago looks as well.
            leasing.looks_at.get_or_insert(now + LOOK_EVERY);
        } else if leasing.is_calm && is_idle {
            leasing.purpose = Purpose::Count;
            let floor = leasing.known.map_or(Token(0), |it| it.token);
            self.with_holder(now, out, |it, said| it.look(now, floor, said));
        }
    }

    /// Nothing was decided by that lease, nor will be. Whoever gets the next one is to know, as
    /// soon as this member knows what was before.
    pub(super) fn pass(&mut self, token: Token, out: &mut Vec<ResolverOutput>) {
        let Some(leasing) = &mut self.leasing else {
            return;
        };
        leasing.unused = Some(token);
        if let Some(token) = leasing.take_unused() {
            self.note(token, out);
        }
    }

    pub(super) fn note(&mut self, token: Token, out: &mut Vec<ResolverOutput>) {
        let holder = None;
        let warrant = Warrant { token, holder };
        if let Some(leasing) = &mut self.leasing {
            leasing.known = Some(warrant);
            leasing.is_stale = false;
            out.push(ResolverOutput::Note { warrant });
        }
    }
}
