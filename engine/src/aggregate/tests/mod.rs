//! Every aggregate against a slow, obviously right twin, and tables of what they give.

mod input;
mod random;
mod tables;
mod twin;
