//! Actors that fail at every message, as fast as such can be sent. What it comes to is printed:
//! speed is not asserted.

use std::time::{Duration, Instant};

use ringmesh::{
    Actor, Cx, Handler, Msg, Node, Props, Ref, SendError, Supervision, message, protocol,
};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

#[message(id = "tests.Blow", v = 1)]
#[derive(Clone, Copy, Debug)]
struct Blow;

protocol! { FuseApi = "tests.fuse" { Blow } }

struct Fuse;

impl Actor for Fuse {
    type Api = FuseApi;
}

impl Handler<Blow> for Fuse {
    fn handle(&mut self, _: Msg<Blow>, _: &mut Cx<'_, Self>) {
        panic!("blown");
    }
}

/// Messages offered a second, and for how long.
const OFFERED: u64 = 100_000;
const STORM: Duration = Duration::from_secs(2);

/// What a storm came to.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    blown: u64,
    refused: u64,
    /// The longest that another actor of the core took to answer.
    longest: Duration,
}

async fn storm(node: &Node, fuse: Ref<FuseApi>, echo: Ref<EchoApi>) -> Weather {
    let mut weather = Weather::default();
    let begun = Instant::now();
    while begun.elapsed() < STORM {
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap() * OFFERED / 1_000_000;
        while weather.blown + weather.refused < due {
            match fuse.try_tell(Blow) {
                Ok(()) => weather.blown += 1,
                Err(SendError::Full(_)) => weather.refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let asked = Instant::now();
        let question = Echo {
            number: weather.blown,
            body: bytes::Bytes::new(),
        };
        echo.ask(question).await.expect("the core answers");
        weather.longest = weather.longest.max(asked.elapsed());
        node.sleep(Duration::from_millis(1)).await;
    }
    while node.counters().failures < weather.blown {
        node.sleep(Duration::from_millis(1)).await;
    }
    weather
}

#[test]
#[ignore = "takes seconds, and prints how fast it is"]
fn a_hundred_thousand_failing_messages_a_second_leave_the_core_its_time() {
    // The usual hook writes a report of each panic: that is the program's to choose.
    std::panic::set_hook(Box::new(|_| {}));
    let restarts = Supervision::restart().pauses(Duration::ZERO, Duration::ZERO);
    for how in [Supervision::Resume, restarts.for_ever().into()] {
        let node = LiveNode::start_serving();
        let path = node.path(ECHO);
        let weather = node.run(move |node| async move {
            let props = Props::new(|| Fuse).supervised(how);
            let fuse = node.spawn_props(props).expect("room");
            let echo = node.resolve(&path).await.expect("it is there");
            storm(&node, fuse, echo).await
        });
        assert_eq!(node.counters().failures, weather.blown);
        let lines = node.log().last(usize::MAX);
        let said = lines.iter().filter(|line| line.contains("an actor failed"));
        let said = said.count();
        println!("{how:?}: {weather:?} of {OFFERED} a second in {STORM:?}, {said} lines");
        assert!((1..=100).contains(&said), "{said} lines");
    }
    drop(std::panic::take_hook());
}
