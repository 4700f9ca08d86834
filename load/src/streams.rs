//! Which events belong together. A stream is what one publisher publishes to one topic: its events are numbered, and every client
//! of the topic gets them in order. Where there are more topics than publishers, each topic has one stream; else each publisher.

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    /// How many topics, at least 1.
    pub(crate) topics: u32,
    /// How many publishers; without any, another program publishes.
    pub(crate) publishers: u32,
}

impl Streams {
    /// Returns how many there are.
    pub(crate) fn count(self) -> u32 {
        self.topics.max(self.publishers)
    }

    /// Returns the topic of a client.
    pub(crate) const fn topic_of_client(self, client: u32) -> u32 {
        client % self.topics
    }

    /// Returns the topic of a stream.
    pub(crate) const fn topic(self, stream: u32) -> u32 {
        stream % self.topics
    }

    /// Returns the streams that a client gets.
    pub(crate) fn of_client(self, client: u32) -> impl Iterator<Item = u32> {
        (self.topic_of_client(client)..self.count()).step_by(self.topics as usize)
    }

    /// Returns where a client has a stream among its own; `None` if it is none of them.
    pub(crate) fn index(self, client: u32, stream: u32) -> Option<usize> {
        let is_its_own = stream < self.count() && self.topic(stream) == self.topic_of_client(client);
        is_its_own.then_some((stream / self.topics) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_of_a_topic_reaches_its_clients() {
        for (topics, publishers) in [(1, 1), (1, 3), (3, 1), (3, 2), (2, 5), (5, 0)] {
            let streams = Streams { topics, publishers };
            for client in 0..7 {
                let own: Vec<u32> = streams.of_client(client).collect();
                for stream in 0..streams.count() {
                    let place = own.iter().position(|known| *known == stream);
                    assert_eq!(streams.index(client, stream), place, "{streams:?} {client} {stream}");
                    assert_eq!(place.is_some(), streams.topic(stream) == client % topics);
                }
                assert_eq!(streams.index(client, streams.count()), None);
            }
        }
    }
}
