//! Real processes of `kith`, each on a data folder of its own.

mod disk;
mod errors;
mod files;
mod lab;
mod life;
mod people;
mod sources;
