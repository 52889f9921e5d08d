//! Nodes as their users and their peers meet them: whole ones, over real sockets. One program, for
//! that is linked once; tests that count what a process holds or wastes have programs of their own.

mod accounting;
mod actors;
mod bad_input;
mod between;
mod configuration;
mod connections;
mod control;
mod control_frames;
mod core_loop;
mod cores;
mod dead_letters;
mod door;
mod events;
mod fairness;
mod far;
mod faults;
mod forming;
mod graceful_stop;
mod lanes;
mod life;
mod links;
mod local;
mod memory;
mod metrics;
mod mishaps;
mod misuse;
mod panics;
mod questions;
mod refs;
mod refusals;
mod resume;
mod shared_links;
mod silence;
mod transports;
mod upgrades;
