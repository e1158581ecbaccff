-- For wrk: requests the lines of the file BENCH_REQUESTS (a path and, perhaps, an ETag) in turn; prints JSON.
local requests, at = {}, 0

init = function()
  for line in io.lines(os.getenv("BENCH_REQUESTS")) do
    local path, etag = line:match("^(%S+) ?(.*)$")
    local headers = etag ~= "" and { ["If-None-Match"] = etag } or nil
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end

request = function()
  at = at % #requests + 1
  return requests[at]
end

done = function(summary, latency)
  local e = summary.errors
  print(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "errors": %d}', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
