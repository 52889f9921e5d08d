//! A store that gives one lease, for the tests of this crate.

use super::{Answer, Ask, Deed, Token};

/// Gives one lease, by its own clock, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// The last token that was given out.
    pub(crate) token: u64,
    /// Who has it, and until when.
    pub(crate) holder: Option<(Box<str>, u64)>,
    /// Whose time is over keeps it until another one asks.
    pub(crate) lingers: bool,
    /// It gives the first token again and again, as none may.
    pub(crate) repeats: bool,
    /// It cannot count on from another token than its last one.
    pub(crate) is_rigid: bool,
}

impl Store {
    fn counting_on(&self, known: Token) -> u64 {
        match self.is_rigid {
            true => self.token,
            false => Token(self.token).counting_on(known).0,
        }
    }

    pub(crate) fn handle(&mut self, now: u64, ask: &Ask) -> Answer {
        let lingers = self.lingers;
        let is_kept = |owner: &str| lingers && *owner == *ask.owner;
        let holder = &mut self.holder;
        holder.take_if(|(owner, until)| *until <= now && !is_kept(owner));
        let other = self.holder.as_ref().filter(|it| it.0 != ask.owner);
        let other = other.map(|it| it.0.clone());
        let is_own = self.holder.is_some() && other.is_none();
        let is_kept = |token: Token, last: u64| is_own && token.0 == last;
        match ask.deed {
            Deed::Acquire(known) => {
                if let Some(owner) = other {
                    return Answer::HeldBy { owner };
                }
                let is_repeated = self.repeats && self.token >= 1;
                if !is_own && !is_repeated {
                    self.token = self.counting_on(known) + 1;
                }
            }
            Deed::Renew(token) if !is_kept(token, self.token) => return Answer::Lost,
            Deed::Renew(_) => {}
            Deed::Release(token) => {
                if is_kept(token, self.token) {
                    self.holder = None;
                }
                return Answer::Released;
            }
            Deed::Look(floor) => {
                let last = self.counting_on(floor);
                if self.token < last {
                    if let Some(owner) = other {
                        return Answer::HeldBy { owner };
                    }
                    (self.token, self.holder) = (last, None);
                }
                let token = Token(self.token);
                return Answer::Last { token };
            }
        }
        let until = now + ask.time_to_live.as_millis() as u64;
        self.holder = Some((ask.owner.clone(), until));
        let token = Token(self.token);
        Answer::Held { token }
    }
}
