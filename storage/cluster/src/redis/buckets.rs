//! Token buckets in Redis: one key per bucket that is not full, gone when it would be.

use std::time::Duration;

use async_trait::async_trait;

use super::{Failure, RedisCluster, exchange};
use crate::{Charge, Charged, ClusterError, SharedBuckets};

/// Before the name of each bucket.
const PREFIX: &str = "publaryn:rate:";

/// The generic cell rate algorithm over any number of buckets, in whole microseconds by the clock of Redis. A key
/// holds the instant at which its bucket is full. Sent whole each time: it is short, and Redis knows it by then.
const SCRIPT: &str = "\
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer = {}
for i, key in ipairs(KEYS) do
  local needs, cost, most, longest = unpack(ARGV, 4 * i - 3, 4 * i)
  needs, cost, most, longest = tonumber(needs), tonumber(cost), tonumber(most), tonumber(longest)
  local debt = math.max((tonumber(redis.call('GET', key)) or now) - now, 0)
  local taken = needs == 0 or debt + needs <= most
  if taken and cost > 0 then
    debt = math.min(debt + cost, longest)
    redis.call('SET', key, string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000))
  end
  answer[2 * i - 1] = taken and 1 or 0
  answer[2 * i] = debt
end
return answer";

#[async_trait]
impl SharedBuckets for RedisCluster {
    async fn charge(&self, charges: &[Charge]) -> Result<Vec<Charged>, ClusterError> {
        let mut command = ::redis::cmd("EVAL");
        command.arg(SCRIPT).arg(charges.len());
        for charge in charges {
            command.arg(format!("{PREFIX}{}", charge.bucket));
        }
        for charge in charges {
            for time in [charge.needs, charge.cost, charge.most, charge.longest] {
                command.arg(micros(time));
            }
        }
        let mut connection = self.commands.clone();
        let answer = exchange(async { command.query_async::<Vec<i64>>(&mut connection).await }).await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Timeout => ClusterError::Timeout,
            other => ClusterError::Unavailable(other.into()),
        })?;
        let charged = |pair: &[i64]| Charged {
            is_taken: pair[0] == 1,
            debt: Duration::from_micros(u64::try_from(pair[1]).unwrap_or(0)),
        };
        Ok(answer.chunks_exact(2).map(charged).collect())
    }
}

/// Rounded up: something that costs is never free.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}
