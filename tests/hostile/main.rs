//! Hostile components: each is refused or stopped within its limit with the plugin named, and the others go on serving.

mod breaches;
mod cached;
mod calls;
mod child;
mod component;
mod departures;
mod files;
mod fuzz;
mod grants;
mod logged;
mod place;
mod redirects;
mod swaps;
mod versions;
mod waits;
mod wasi;
mod web;
