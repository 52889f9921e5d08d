//! An actor that waits until the test lets it go on.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use ringmesh::{Actor, AsyncHandler, Cx, Handler, Msg, async_handler, message, protocol};

/// Closed until it is opened, from any thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// Those who meet.
    here: u64,
    /// Handlers that went through.
    passed: u64,
    /// Waits that were given up.
    dropped: u64,
    /// Keepers that stopped in order.
    stopped: u64,
    wakers: Vec<Waker>,
}

impl Gate {
    pub(crate) fn open(&self) {
        let woken = self.with(|state| {
            state.open = true;
            std::mem::take(&mut state.wakers)
        });
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether a handler waits.
    pub(crate) fn is_waited_at(&self) -> bool {
        self.with(|state| !state.wakers.is_empty())
    }

    pub(crate) fn passed(&self) -> u64 {
        self.with(|state| state.passed)
    }

    /// How many waits were given up, and how many keepers had stopped by then.
    pub(crate) fn ends(&self) -> (u64, u64) {
        self.with(|state| (state.dropped, state.stopped))
    }

    /// Waits until so many are there.
    pub(crate) async fn meet(&self, count: u64) {
        let all_here = self.with(|state| {
            state.here += 1;
            state.here == count
        });
        if all_here {
            self.open();
        }
        self.pass().await;
    }

    pub(crate) async fn pass(&self) {
        let mut waiting = Waiting(Some(self));
        poll_fn(|context| {
            self.with(|state| {
                if state.open {
                    return Poll::Ready(());
                }
                state.wakers.push(context.waker().clone());
                Poll::Pending
            })
        })
        .await;
        waiting.0 = None;
        self.with(|state| state.passed += 1);
    }

    fn with<R>(&self, with: impl FnOnce(&mut State) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Notes that a wait was given up.
struct Waiting<'a>(Option<&'a Gate>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.0 {
            gate.with(|state| {
                assert_eq!(state.stopped, 0, "a handler is dropped before its actor");
                state.dropped += 1;
            });
        }
    }
}

/// Passes the gate, when it is open.
#[message(id = "tests.Pass", v = 1)]
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) number: u64,
    pub(crate) body: Bytes,
}

/// The same, and says when.
#[message(id = "tests.Knock", v = 1, reply = Numbers)]
#[derive(Clone, Debug)]
pub(crate) struct Knock {
    pub(crate) number: u64,
    /// Panics behind the gate.
    pub(crate) panics: bool,
}

/// Asks for the numbers that came, in order, without waiting.
#[message(id = "tests.List", v = 1, reply = Numbers)]
#[derive(Clone, Debug)]
pub(crate) struct List;

#[message(id = "tests.Numbers", v = 1)]
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    pub(crate) numbers: Vec<u64>,
}

protocol! { pub(crate) KeeperApi = "tests.keeper" { Pass, Knock, List } }

/// Keeps a gate: handles one message at a time, each when the gate is open.
pub(crate) struct Keeper {
    gate: Gate,
    numbers: Vec<u64>,
}

impl Keeper {
    pub(crate) fn new(gate: Gate) -> Self {
        Self {
            gate,
            numbers: Vec::new(),
        }
    }
}

impl Actor for Keeper {
    type Api = KeeperApi;

    fn stopped(&mut self) {
        self.gate.with(|state| state.stopped += 1);
    }
}

#[async_handler]
impl AsyncHandler<Pass> for Keeper {
    async fn handle(&mut self, pass: Msg<Pass>, _: &mut Cx<'_, Self>) {
        self.gate.pass().await;
        self.numbers.push(pass.number.to_native());
    }
}

#[async_handler]
impl AsyncHandler<Knock> for Keeper {
    async fn handle(&mut self, knock: Msg<Knock>, _: &mut Cx<'_, Self>) -> Numbers {
        self.gate.pass().await;
        assert!(!knock.panics, "told to by a test");
        self.numbers.push(knock.number.to_native());
        Numbers {
            numbers: self.numbers.clone(),
        }
    }
}

impl Handler<List> for Keeper {
    fn handle(&mut self, _: Msg<List>, _: &mut Cx<'_, Self>) -> Numbers {
        Numbers {
            numbers: self.numbers.clone(),
        }
    }
}

/// A pass without a body.
pub(crate) fn pass(number: u64) -> Pass {
    Pass {
        number,
        body: Bytes::new(),
    }
}
