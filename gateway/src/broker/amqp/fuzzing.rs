//! What fuzz targets see of RabbitMQ's side.

use super::sanitizer;

/// Repairs the frames of a stream in place, as far as they are there whole.
pub fn repair(bytes: &mut [u8]) {
    sanitizer::repair(bytes);
}
