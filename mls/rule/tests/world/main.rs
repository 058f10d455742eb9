//! A model of groups around the rule: devices, marks, orders and a network,
//! no cryptography. Scripts say what must hold in one situation each; the
//! simulation draws situations from seeds.

mod adversaries;
mod controls;
mod invariants;
mod maker;
mod sim;
mod sweep;
