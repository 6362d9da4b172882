//! Hostile components: each is refused or stopped within its limit with the plugin named, and the others go on serving.

mod calls;
mod component;
mod files;
mod grants;
mod place;
mod redirects;
mod swaps;
mod versions;
mod waits;
mod web;
