//! Clusters of processes: the example `node`, as an operator would run it.
//!
//! Each test prints what took how long, beside the bound that was set for it, and fails at twice
//! that.

mod busy;
mod cables;
mod contract;
mod data_centres;
mod ends;
mod example;
mod forms;
mod network;
mod parts;
mod process;
mod relay;
mod rolling;
mod room;
mod strangers;
