//! Messages that actors send to themselves later: when they come, what ends them, and what becomes
//! of those that find no room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringmesh::{
    Actor, AsyncHandler, Cx, Handler, Msg, Node, Ref, SendError, TimerError, TimerId,
    async_handler, message, protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;

use super::gate::Gate;

const HOUR: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_millis(1);

/// Comes by a timer. When the value drops that the timer keeps, it counts in the cell of its test.
#[message(id = "tests.Tick", v = 1)]
struct Tick {
    number: u64,
    cell: u64,
    armed: bool,
    ballast: Vec<u8>,
}

static DROPPED: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

fn dropped(cell: u64) -> u64 {
    DROPPED[usize::try_from(cell).expect("a small number")].load(Ordering::Relaxed)
}

impl Drop for Tick {
    fn drop(&mut self) {
        DROPPED[usize::try_from(self.cell).expect("a small number")]
            .fetch_add(1, Ordering::Relaxed);
        assert!(!self.armed, "a message that panics in its drop");
    }
}

fn tick(number: u64) -> Tick {
    tick_of(number, 0)
}

fn tick_of(number: u64, cell: u64) -> Tick {
    Tick {
        number,
        cell,
        armed: false,
        ballast: Vec::new(),
    }
}

/// Runs something in a handler of a [`Clock`].
#[message(id = "tests.Wind", v = 1, reply = Wound)]
struct Wind;

#[message(id = "tests.Wound", v = 1)]
struct Wound {
    done: bool,
}

/// Waits at the gate.
#[message(id = "tests.Hold", v = 1)]
struct Hold;

protocol! { ClockApi = "tests.clock" { Wind, Tick } }
protocol! { HeldApi = "tests.held" { Wind, Tick, Hold } }

type Winding = Box<dyn FnMut(&mut Vec<TimerId>, &mut Cx<'_, Clock>) -> bool>;

/// Notes its ticks.
struct Clock {
    winding: Winding,
    timers: Vec<TimerId>,
    ticks: std::rc::Rc<std::cell::RefCell<Vec<(u64, Instant)>>>,
}

impl Actor for Clock {
    type Api = ClockApi;
}

impl Handler<Wind> for Clock {
    fn handle(&mut self, _: Msg<Wind>, cx: &mut Cx<'_, Self>) -> Wound {
        let done = (self.winding)(&mut self.timers, cx);
        Wound { done }
    }
}

impl Handler<Tick> for Clock {
    fn handle(&mut self, tick: Msg<Tick>, _: &mut Cx<'_, Self>) {
        let now = Instant::now();
        self.ticks.borrow_mut().push((tick.number.to_native(), now));
    }
}

/// The ticks of a clock, as they come.
#[derive(Clone)]
struct Face(std::rc::Rc<std::cell::RefCell<Vec<(u64, Instant)>>>);

impl Face {
    /// Waits until it is as `wanted`.
    async fn until(&self, node: &Node, wanted: impl Fn(&[(u64, Instant)]) -> bool) {
        while !wanted(&self.0.borrow()) {
            node.sleep(PERIOD).await;
        }
    }

    fn count(&self, number: u64) -> usize {
        let ticks = self.0.borrow();
        ticks.iter().filter(|(tick, _)| *tick == number).count()
    }
}

/// A clock, its face, and what winds it.
fn clock(
    node: &Node,
    winding: impl FnMut(&mut Vec<TimerId>, &mut Cx<'_, Clock>) -> bool + 'static,
) -> (Ref<ClockApi>, Face) {
    let ticks = std::rc::Rc::default();
    let face = Face(std::rc::Rc::clone(&ticks));
    let clock = Clock {
        winding: Box::new(winding),
        timers: Vec::new(),
        ticks,
    };
    (node.spawn(clock).expect("room"), face)
}

async fn wind(clock: Ref<ClockApi>) -> bool {
    clock.ask(Wind).await.expect("an answer").done
}

#[test]
fn a_message_comes_once_when_its_time_has_passed() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let spans = [30, 10, 20].map(Duration::from_millis);
        let (clock, face) = clock(&node, move |_, cx| {
            for (number, span) in (0..).zip(spans) {
                cx.after(span, tick(number)).expect("room");
            }
            true
        });
        let begin = Instant::now();
        assert!(wind(clock).await);
        face.until(&node, |ticks| ticks.len() == 3).await;
        let ticks = face.0.borrow().clone();
        let order: Vec<u64> = ticks.iter().map(|(number, _)| *number).collect();
        assert_eq!(order, [1, 2, 0]);
        for (number, at) in ticks {
            let span = spans[usize::try_from(number).expect("a small number")];
            assert!(at - begin >= span, "{number} came too early");
        }
    });
    let books = node.counters();
    assert_closed(&books);
    assert_eq!(books.dead_received, 0, "{books:#?}");
}

#[test]
fn a_message_comes_again_and_again_until_it_is_cancelled() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let mut winds = 0;
        let (clock, face) = clock(&node, move |timers, cx| {
            winds += 1;
            if winds == 1 {
                timers.push(cx.every(PERIOD, tick(7)).expect("room"));
                return true;
            }
            assert!(cx.cancel(timers[0]), "it runs");
            assert!(!cx.cancel(timers[0]), "it is gone");
            // Far behind the next period.
            cx.after(20 * PERIOD, tick(8)).expect("room");
            true
        });
        assert!(wind(clock).await);
        face.until(&node, |ticks| ticks.len() >= 5).await;
        assert!(wind(clock).await);
        // One may have been on its way.
        let most = face.count(7) + 1;
        face.until(&node, |ticks| ticks.last().is_some_and(|last| last.0 == 8))
            .await;
        assert!(face.count(7) <= most);
    });
    assert_closed(&node.counters());
}

#[test]
fn periods_that_a_slow_core_missed_come_to_one() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let (clock, face) = clock(&node, |_, cx| {
            cx.every(PERIOD, tick(0)).expect("room");
            let begin = Instant::now();
            while begin.elapsed() < 30 * PERIOD {
                std::hint::spin_loop();
            }
            true
        });
        assert!(wind(clock).await);
        face.until(&node, |ticks| !ticks.is_empty()).await;
        let merged = node.counters().ticks_merged;
        assert!(merged >= 10, "{merged}");
        assert!(node.stop(&clock));
    });
    assert_closed(&node.counters());
}

#[test]
fn timers_end_with_their_actor_however_that_ends() {
    const CELL: u64 = 1;
    let node = LiveNode::start();
    node.run(|node| async move {
        let set = |cx: &mut Cx<'_, Clock>| {
            cx.after(HOUR, tick_of(0, CELL)).expect("room");
        };
        let (stopped, _) = clock(&node, move |_, cx| {
            set(cx);
            true
        });
        assert!(wind(stopped).await && dropped(CELL) == 0);
        assert!(node.stop(&stopped));
        assert_eq!(dropped(CELL), 1, "stopped from outside");
        let (leaves, _) = clock(&node, move |_, cx| {
            assert!(cx.node().stop(&cx.me()), "it runs");
            set(cx);
            true
        });
        assert!(wind(leaves).await);
        assert_eq!(dropped(CELL), 2, "stopped before it set the timer");
        let (panics, _) = clock(&node, move |_, cx| {
            set(cx);
            panic!("told to by a test");
        });
        assert!(panics.ask(Wind).await.is_err());
        assert_eq!(dropped(CELL), 3, "panicked");
        let (stays, _) = clock(&node, move |_, cx| {
            set(cx);
            true
        });
        assert!(wind(stays).await);
    });
    assert_closed(&node.counters());
    node.stop();
    assert_eq!(dropped(CELL), 4, "the node ended");
}

#[test]
fn a_message_that_panics_in_its_drop_ends_nothing() {
    const CELL: u64 = 2;
    let node = LiveNode::start();
    node.run(|node| async move {
        let armed = |number| {
            let mut tick = tick_of(number, CELL);
            tick.armed = true;
            tick
        };
        let (clock, face) = clock(&node, move |_, cx| {
            cx.after(PERIOD, armed(1)).expect("room");
            let hourly = cx.every(HOUR, armed(2)).expect("room");
            assert!(cx.cancel(hourly), "it runs");
            cx.every(HOUR, armed(3)).expect("room");
            true
        });
        assert!(wind(clock).await);
        face.until(&node, |ticks| ticks.len() == 1).await;
        assert!(node.stop(&clock));
        assert_eq!(dropped(CELL), 3);
        assert_eq!(node.counters().panics, 3);
    });
    assert_closed(&node.counters());
}

#[test]
fn one_over_the_timers_of_a_core_is_refused() {
    // The bound of the engine.
    const LIMIT: usize = 1 << 16;
    let node = LiveNode::start();
    node.run(|node| async move {
        let fill = |timers: &mut Vec<TimerId>, cx: &mut Cx<'_, Clock>| {
            let refused = loop {
                match cx.after(HOUR, tick(0)) {
                    Ok(timer) => timers.push(timer),
                    Err(refused) => break refused,
                }
            };
            assert_eq!(refused, TimerError::TooManyTimers { limit: LIMIT });
            assert_eq!(timers.len(), LIMIT);
            assert!(cx.cancel(timers[LIMIT / 2]), "it runs");
            cx.after(HOUR, tick(0)).expect("the room of that");
            true
        };
        for _ in 0..2 {
            let (clock, _) = clock(&node, fill);
            assert!(wind(clock).await);
            assert!(node.stop(&clock), "which gives all of them back");
        }
    });
    assert_closed(&node.counters());
}

#[test]
fn nobody_cancels_the_timer_of_another() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let known = std::rc::Rc::new(std::cell::Cell::new(None));
        let told = std::rc::Rc::clone(&known);
        let (first, face) = clock(&node, move |_, cx| {
            told.set(Some(cx.after(20 * PERIOD, tick(1)).expect("room")));
            true
        });
        assert!(wind(first).await);
        let theirs = known.get().expect("it was set");
        let (second, _) = clock(&node, move |_, cx| cx.cancel(theirs));
        assert!(!wind(second).await);
        face.until(&node, |ticks| ticks.len() == 1).await;
    });
}

#[test]
fn a_message_that_can_never_be_sent_is_counted_as_lost() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let (clock, _) = clock(&node, |_, cx| {
            let mut tick = tick(0);
            tick.ballast = vec![0; 3 << 20];
            cx.every(PERIOD, tick).expect("room");
            true
        });
        assert!(wind(clock).await);
    });
    let books = node.until("the loss", |now| now.ticks_lost == 1);
    assert_closed(&books);
}

/// Handles nothing while its gate is closed.
struct Held {
    gate: Gate,
    wound: bool,
    ticks: std::rc::Rc<std::cell::RefCell<Vec<(u64, Instant)>>>,
}

impl Actor for Held {
    type Api = HeldApi;
}

#[async_handler]
impl AsyncHandler<Hold> for Held {
    async fn handle(&mut self, _: Msg<Hold>, cx: &mut Cx<'_, Self>) {
        if !std::mem::replace(&mut self.wound, true) {
            cx.after(PERIOD, tick(1)).expect("room");
            cx.every(PERIOD, tick(2)).expect("room");
        }
        self.gate.pass().await;
    }
}

impl Handler<Wind> for Held {
    fn handle(&mut self, _: Msg<Wind>, _: &mut Cx<'_, Self>) -> Wound {
        Wound { done: true }
    }
}

impl Handler<Tick> for Held {
    fn handle(&mut self, tick: Msg<Tick>, _: &mut Cx<'_, Self>) {
        let now = Instant::now();
        self.ticks.borrow_mut().push((tick.number.to_native(), now));
    }
}

#[test]
fn a_message_that_finds_no_room_comes_later_and_periods_come_to_one() {
    const MAILBOX: usize = 16;
    let node = LiveNode::start_with(|it| it.settings(|s| s.mailbox_messages_max = MAILBOX));
    node.run(|node| async move {
        let (gate, ticks) = (Gate::default(), std::rc::Rc::default());
        let face = Face(std::rc::Rc::clone(&ticks));
        let held = Held {
            gate: gate.clone(),
            wound: false,
            ticks,
        };
        let held = node.spawn(held).expect("room");
        // In one turn, so that no tick is in between.
        let mut refused = false;
        while !refused {
            match held.try_tell(Hold) {
                Ok(()) => {}
                Err(SendError::Full(_)) => refused = true,
                Err(error) => panic!("{error}"),
            }
        }
        let merged = || node.counters().ticks_merged;
        while merged() < 5 {
            node.sleep(PERIOD).await;
            // Keeps the mailbox at its bound.
            while held.try_tell(Hold).is_ok() {}
        }
        assert_eq!(face.0.borrow().len(), 0);
        gate.open();
        let both = |ticks: &[(u64, Instant)]| {
            ticks.len() >= 5 && ticks.iter().any(|(number, _)| *number == 1)
        };
        face.until(&node, both).await;
        assert_eq!(face.count(1), 1, "once");
        assert!(node.stop(&held));
    });
    let books = node.counters();
    assert_closed(&books);
    assert_eq!(books.ticks_lost, 0, "{books:#?}");
}
