//! Termination signals arrive as events. A program of its own: the signals must be blocked before
//! any other thread starts, which no test harness does.

use std::collections::VecDeque;
use std::process::Command;
use std::time::{Duration, Instant};

use ringmesh_transport::signal::block_termination_signals;
use ringmesh_transport::tcp::Settings;
use ringmesh_transport::{Event, TcpTransport, Transport};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let _blocked = block_termination_signals().unwrap();
    let mut transport = TcpTransport::new(Settings::default()).unwrap();
    transport.watch_signals().unwrap();
    // A thread that is started later inherits the mask, so it does not take the signal.
    std::thread::spawn(std::thread::park);
    for signal in ["TERM", "INT", "TERM"] {
        let mut kill = Command::new("sh")
            .args(["-c", &format!("kill -{signal} $PPID")])
            .spawn();
        let deadline = Instant::now() + PATIENCE;
        let mut events = VecDeque::new();
        while !transport.poll(&mut events) {
            assert!(Instant::now() < deadline, "SIG{signal} did not arrive");
            transport.park(Some(Duration::from_millis(100))).unwrap();
        }
        assert!(
            matches!(events.make_contiguous(), [Event::Terminate]),
            "{events:?}"
        );
        assert!(kill.as_mut().unwrap().wait().unwrap().success());
    }
    println!("signals arrive as events: ok");
}
