-- Which users see a candidate: x-user-id becomes a bucket, 0 to 99, in x-mlsd-bucket; routes match the bucket.
-- Runs in the local Envoy and in the mesh's EnvoyFilter; mlsd/delivery/buckets.py is its twin for analysis.
-- FNV-1a over "salt:id", then MurmurHash3's final mix, so that neighbouring ids land far apart. The salt comes with
-- the routes and changes with each candidate release: not always the same users are the first to see a new model.

local bit = require("bit")

local function multiply(a, b) -- of 32-bit numbers, modulo 2^32: doubles hold 53 bits
  return ((math.floor(a / 65536) * b) % 65536 * 65536 + (a % 65536) * b) % 4294967296
end

local function xor(a, b)
  return bit.bxor(a, b) % 4294967296
end

local function bucket(text)
  local hash = 2166136261
  for i = 1, #text do
    hash = multiply(xor(hash, text:byte(i)), 16777619)
  end
  hash = multiply(xor(hash, math.floor(hash / 65536)), 2246822507)
  hash = multiply(xor(hash, math.floor(hash / 8192)), 3266489909)
  return xor(hash, math.floor(hash / 65536)) % 100
end

function envoy_on_request(request)
  local headers = request:headers()
  -- What a client says about its own bucket or role is not believed.
  headers:remove("x-mlsd-role")
  headers:remove("x-mlsd-bucket")
  -- Nobody to be faithful to: each anonymous request draws its bucket from its own id.
  local id = headers:get("x-user-id") or headers:get("x-request-id")
  local salt = request:metadata():get("salt") or ""
  headers:replace("x-mlsd-bucket", tostring(bucket(salt .. ":" .. (id or ""))))
end
