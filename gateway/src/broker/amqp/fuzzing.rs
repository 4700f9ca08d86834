//! What fuzz targets see of RabbitMQ's side.

use super::repair;

/// Repairs the frames of a stream in place, as far as they are there whole.
pub fn repair(bytes: &mut [u8]) {
    repair::repair(bytes);
}
