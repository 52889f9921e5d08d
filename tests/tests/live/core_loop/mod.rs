//! What a core owes everybody on it: a turn, an end in order, an answer that says what happened.

mod endings;
mod reply_types;
mod stalls;
mod turns;
