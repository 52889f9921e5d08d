//! A store in the memory of one process, for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ringmesh_cluster::lease::{Answer, Ask, Deed, LeaseName, Token};

use crate::clock::Clock;
use crate::refusal::{check, failed};
use crate::{LEASES_MAX, Store};

/// A store in the memory of one process, for tests. Its clones are one store, as several nodes see
/// it; it has a clock, as Consul does, and gives a lease away when its time is over by that.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// With the last token of each, also when nobody holds it.
    leases: BTreeMap<LeaseName, Record>,
    /// Why nothing is given out.
    outage: Option<String>,
    asks: u64,
}

#[derive(Debug)]
struct Record {
    token: u64,
    /// Who holds it, until when.
    holder: Option<(Box<str>, Duration)>,
}

impl MemoryStore {
    /// A store in which nothing is held.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Arc::default(),
        }
    }

    /// From now on every ask fails with that text and changes nothing; or none does, with `None`.
    pub fn set_outage(&self, why: Option<&str>) {
        self.state().outage = why.map(str::to_owned);
    }

    /// Who holds a lease now, with its token.
    pub fn holder(&self, name: &LeaseName) -> Option<(Box<str>, Token)> {
        let now = self.clock.now();
        let state = self.state();
        let record = state.leases.get(name)?;
        let (owner, ends) = record.holder.as_ref()?;
        (now < *ends).then(|| (owner.clone(), Token(record.token)))
    }

    /// How many asks came.
    pub fn asks(&self) -> u64 {
        self.state().asks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic of another test left behind is whole: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn handle(&mut self, ask: &Ask) -> Answer {
        let now = self.clock.now();
        let mut state = self.state();
        state.asks += 1;
        if let Err(refusal) = check(ask) {
            return refusal;
        }
        if let Some(why) = &state.outage {
            return failed(why);
        }
        if !state.leases.contains_key(&ask.name) && state.leases.len() >= LEASES_MAX {
            return failed(format_args!(
                "there are {LEASES_MAX} leases, and no room for more"
            ));
        }
        let nobody = || Record {
            token: 0,
            holder: None,
        };
        let record = state.leases.entry(ask.name.clone());
        record.or_insert_with(nobody).handle(ask, now)
    }
}

impl Record {
    fn handle(&mut self, ask: &Ask, now: Duration) -> Answer {
        // Whose time is over has it no more.
        self.holder.take_if(|(_, ends)| *ends <= now);
        let is_own = self.holder.as_ref().is_some_and(|it| it.0 == ask.owner);
        let is_kept = |token: Token| is_own && token.0 == self.token;
        match ask.deed {
            Deed::Acquire(known) => match &self.holder {
                Some((owner, _)) if !is_own => {
                    let owner = owner.clone();
                    return Answer::HeldBy { owner };
                }
                Some(_) => {}
                None => match Token(self.token).counting_on(known).0.checked_add(1) {
                    Some(next) => self.token = next,
                    None => return failed("it has the last token there is"),
                },
            },
            Deed::Renew(token) if !is_kept(token) => return Answer::Lost,
            Deed::Renew(_) => {}
            Deed::Release(token) => {
                if is_kept(token) {
                    self.holder = None;
                }
                return Answer::Released;
            }
            Deed::Look(floor) => {
                let token = Token(self.token).counting_on(floor);
                if self.token < token.0 {
                    if let Some((owner, _)) = self.holder.as_ref().filter(|_| !is_own) {
                        let owner = owner.clone();
                        return Answer::HeldBy { owner };
                    }
                    (self.token, self.holder) = (token.0, None);
                }
                return Answer::Last { token };
            }
        }
        self.holder = Some((ask.owner.clone(), now + ask.time_to_live));
        let token = Token(self.token);
        Answer::Held { token }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn one_over_the_leases_max_is_not_given_out() {
        let mut store = MemoryStore::new(Arc::new(ManualClock::default()));
        let mut acquire = |number: usize| {
            store.handle(&Ask {
                number: 1,
                name: LeaseName::new(&format!("shop-{number}")).unwrap(),
                owner: "a".into(),
                deed: Deed::Acquire(Token(0)),
                time_to_live: Duration::from_secs(1),
            })
        };
        for number in 0..LEASES_MAX {
            assert!(matches!(acquire(number), Answer::Held { .. }));
        }
        assert!(matches!(acquire(LEASES_MAX), Answer::Failed { .. }));
        assert!(matches!(acquire(0), Answer::Held { .. }));
    }
}
