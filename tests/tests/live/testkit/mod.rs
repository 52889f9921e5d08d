//! What users write their own tests with.

mod letters;
mod virtual_time;
