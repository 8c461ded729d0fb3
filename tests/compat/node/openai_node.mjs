// What a user of the OpenAI Node SDK does. Run by `test_clients`; tells of each scenario in a line.
//
// Nothing of Reelgate is here: this is somebody else's program.

import assert from "node:assert/strict";
import fs from "node:fs";
import OpenAI, { toFile } from "openai";
import { VERSION } from "openai/version";

const MODEL = "grok-imagine";
const FAIL = "[sandbox:refuse]";
const AT_ONCE = 6;
const given = JSON.parse(fs.readFileSync(0, "utf8"));

const clientOf = (user, options = {}) =>
  new OpenAI({ baseURL: given.base_url, apiKey: user.key, ...options });
const link = (name) => `${given.inputs_url}/${name}`;
const bytes = (name) => fs.readFileSync(`${given.inputs}/${name}`);

// The SDK has no helper that polls: what its users write.
async function ended(client, id) {
  for (;;) {
    const video = await client.videos.retrieve(id);
    if (video.status === "completed" || video.status === "failed") return video;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function made(client, params = {}) {
  const body = { model: MODEL, prompt: "a boat", seconds: "1", ...params };
  const video = await ended(client, (await client.videos.create(body)).id);
  assert.equal(video.status, "completed", JSON.stringify(video));
  return video;
}

async function refused(kind, promise) {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof kind, `${error}`);
    if (kind !== OpenAI.APIError) assert.equal(error.constructor, kind);
    assert.match(error.requestID, /^req_/);
    return error;
  }
  assert.fail(`no ${kind.name}`);
}

const scenarios = {
  async text_to_video(user) {
    const client = clientOf(user);
    const body = { model: MODEL, prompt: "a boat", seconds: "1", size: "1280x720" };
    const video = await client.videos.create(body);
    assert.match(video.id, /^task_/);
    assert.deepEqual(
      [video.object, video.model, video.size, video.status, video.progress, video.seconds],
      ["video", MODEL, "1280x720", "queued", 0, "1"],
    );
    assert.deepEqual([video.completed_at, video.expires_at, video.error], [null, null, null]);
    const done = await ended(client, video.id);
    assert.deepEqual([done.status, done.progress], ["completed", 100]);
    assert.equal(done.billing.cost, "0.07");
    assert.match(done.metadata.url, /^http/);
  },

  async image_to_video_by_upload(user) {
    const client = clientOf(user);
    const path = `${given.inputs}/red.png`;
    const ways = [
      fs.createReadStream(path),
      await toFile(bytes("red.png"), "x.jpg", { type: "image/jpeg" }),
      new File([bytes("red.png")], "red.png"),
    ];
    for (const way of ways) {
      const body = { model: MODEL, prompt: FAIL, seconds: "1", input_reference: way };
      assert.equal((await client.videos.create(body)).operation, "image_to_video");
    }
    await made(client, { input_reference: fs.createReadStream(path) });
  },

  async image_to_video_by_link(user) {
    const client = clientOf(user);
    const ways = [
      { input_reference: { image_url: link("red.png") } },
      { input_reference: link("red.png") },
      { image: link("red.png") },
      { image: { url: link("red.png") } },
      { extra_body: { image: { url: link("red.png") } } },
    ];
    for (const way of ways) {
      const body = { model: MODEL, prompt: FAIL, seconds: "1", ...way };
      assert.equal((await client.videos.create(body)).operation, "image_to_video");
    }
  },

  async reference_to_video(user) {
    const video = await made(clientOf(user), {
      prompt: "@Image1 meets @Image2",
      images: [link("red.png"), link("green.jpg")],
      extra_body: { operation: "reference_to_video" },
    });
    assert.equal(video.operation, "reference_to_video");
    assert.equal(video.billing.cost, "0.054");
    const objects = { images: [{ url: link("red.png") }, { url: link("green.jpg") }] };
    const body = { model: MODEL, prompt: FAIL, seconds: "1", ...objects };
    const created = await clientOf(user).videos.create(body);
    assert.equal(created.operation, "reference_to_video");
  },

  async edit_video_through_create(user) {
    const client = clientOf(user);
    const body = {
      model: MODEL,
      prompt: "sepia",
      video: link("two.mp4"),
      extra_body: { operation: "edit_video", input_video_seconds: 2 },
    };
    const video = await ended(client, (await client.videos.create(body)).id);
    assert.equal(video.status, "completed");
    assert.deepEqual([video.operation, video.billing.cost], ["edit_video", "0.12"]);
  },

  async video_extend_through_create(user) {
    const video = await made(clientOf(user), {
      seconds: "2",
      video: { url: link("two.mp4") },
      extra_body: { operation: "video_extend", input_video_seconds: 2 },
    });
    assert.deepEqual([video.operation, video.billing.cost], ["video_extend", "0.12"]);
  },

  async edit_and_extend(user) {
    const client = clientOf(user);
    const clip = () => fs.createReadStream(`${given.inputs}/two.mp4`);
    const edited = await client.videos.edit({ prompt: "black and white", video: clip() });
    assert.equal(edited.billing.max_cost, "0.12");
    assert.equal((await ended(client, edited.id)).status, "completed");
    const extended = await client.videos.extend({ prompt: "on", seconds: "2", video: clip() });
    assert.equal(extended.operation, "video_extend");
    const again = await client.videos.edit({ prompt: FAIL, video: { id: edited.id } });
    assert.deepEqual([again.operation, again.seconds], ["edit_video", "2"]);
    const on = { prompt: FAIL, seconds: "4", video: { id: edited.id } };
    assert.equal((await client.videos.extend(on)).operation, "video_extend");
  },

  async remix(user) {
    const client = clientOf(user);
    const first = await made(client);
    const video = await client.videos.remix(first.id, { prompt: "mirror" });
    assert.equal(video.remixed_from_video_id, first.id);
    assert.equal((await ended(client, video.id)).status, "completed");
  },

  async download_with_variants(user) {
    const client = clientOf(user);
    const video = await made(client);
    const read = async (params) => {
      const response = await client.videos.downloadContent(video.id, params);
      return Buffer.from(await response.arrayBuffer());
    };
    const data = await read();
    assert.equal(data.toString("latin1", 4, 8), "ftyp");
    assert.deepEqual(await read({ variant: "video" }), data);
    assert.equal((await read({ variant: "thumbnail" })).toString("latin1", 8, 12), "WEBP");
    assert.equal((await read({ variant: "spritesheet" })).readUInt16BE(0), 0xffd8);
    const range = { headers: { range: "bytes=4-7" } };
    const piece = await client.videos.downloadContent(video.id, {}, range);
    assert.deepEqual([piece.status, await piece.text()], [206, "ftyp"]);
    const plain = await fetch(video.metadata.url ?? (await ended(client, video.id)).metadata.url);
    assert.deepEqual(Buffer.from(await plain.arrayBuffer()), data);
  },

  async list_through_pages(user) {
    const client = clientOf(user);
    const ids = [];
    for (let n = 0; n < 5; n++) {
      const body = { model: MODEL, prompt: FAIL, seconds: "1" };
      ids.push((await client.videos.create(body)).id);
    }
    const listed = async (query) => {
      const found = [];
      for await (const video of client.videos.list(query)) found.push(video.id);
      return found;
    };
    assert.deepEqual(await listed({ limit: 2 }), ids.toReversed());
    assert.deepEqual(await listed({ limit: 2, order: "asc" }), ids);
    const page = await client.videos.list({ limit: 3 });
    assert.deepEqual([page.data.length, page.has_more], [3, true]);
    assert.equal((await page.getNextPage()).data.length, 2);
  },

  async delete(user) {
    const client = clientOf(user);
    const body = { model: MODEL, prompt: FAIL, seconds: "1" };
    const video = await ended(client, (await client.videos.create(body)).id);
    assert.deepEqual(video.error.code, "task_failed");
    const gone = await client.videos.delete(video.id);
    assert.deepEqual(gone, { id: video.id, object: "video.deleted", deleted: true });
    const error = await refused(OpenAI.NotFoundError, client.videos.retrieve(video.id));
    assert.equal(error.code, "task_not_found");
  },

  async models(user) {
    const client = clientOf(user);
    const found = [];
    for await (const model of client.models.list()) found.push(model.id);
    assert.deepEqual(found, [MODEL]);
    assert.equal((await client.models.retrieve(MODEL)).object, "model");
  },

  async errors_are_the_right_exceptions(user) {
    const client = clientOf(user, { maxRetries: 0 });
    const create = (fields, options) =>
      client.videos.create({ model: MODEL, prompt: FAIL, seconds: "1", ...fields }, options);
    let error = await refused(OpenAI.BadRequestError, create({ seconds: "16" }));
    assert.deepEqual([error.code, error.param], ["invalid_value", "seconds"]);
    assert.deepEqual([error.type, error.status], ["invalid_request_error", 400]);
    assert.match(error.message, /1 to 15/);
    error = await refused(OpenAI.BadRequestError, create({ promt: "x" }));
    assert.deepEqual([error.code, error.param], ["unknown_parameter", "promt"]);
    error = await refused(OpenAI.NotFoundError, create({ model: "sora-2" }));
    assert.equal(error.code, "model_not_found");
    const nobody = clientOf({ key: "sk-wrong" }, { maxRetries: 0 });
    error = await refused(OpenAI.AuthenticationError, nobody.videos.list());
    assert.equal(error.code, "invalid_api_key");
    const poor = clientOf({ key: given.poor_key }, { maxRetries: 0 });
    const body = { model: MODEL, prompt: FAIL, seconds: "1" };
    error = await refused(OpenAI.APIError, poor.videos.create(body));
    assert.deepEqual([error.status, error.code], [402, "insufficient_balance"]);
    const running = await create({ prompt: "[sandbox:slow=600]" });
    error = await refused(OpenAI.ConflictError, client.videos.delete(running.id));
    assert.equal(error.code, "not_cancellable");
    error = await refused(OpenAI.NotFoundError, client.videos.downloadContent(running.id));
    assert.equal(error.code, "video_not_ready");
    await client.post(`/videos/${running.id}/cancel`);
    const key = { headers: { "idempotency-key": "one" } };
    const first = await create({}, key);
    assert.equal((await create({}, key)).id, first.id);
    error = await refused(OpenAI.UnprocessableEntityError, create({ seconds: "2" }, key));
    assert.equal(error.code, "idempotency_key_reused");
    // Overriding the type breaks the SDK's own request: multipart that is labelled as JSON.
    const json = { headers: { "content-type": "application/json" } };
    error = await refused(OpenAI.BadRequestError, create({}, json));
    assert.equal(error.code, "invalid_json");
    assert.match(error.message, /multipart/);
  },

  async what_must_not_be_retried_is_not(user) {
    let deletes = 0;
    const counted = (url, options) => {
      if (/^delete$/i.test(options?.method)) deletes += 1;
      return fetch(url, options);
    };
    const client = clientOf(user, { maxRetries: 2, fetch: counted });
    const body = { model: MODEL, prompt: "[sandbox:slow=600]", seconds: "1" };
    const running = await client.videos.create(body);
    await refused(OpenAI.ConflictError, client.videos.delete(running.id));
    assert.equal(deletes, 1);
    await client.post(`/videos/${running.id}/cancel`);
  },

  async a_lost_answer_is_retried_and_makes_one_task(user) {
    const lossy = clientOf(user, { baseURL: given.lossy_url });
    const video = await lossy.videos.create({ model: MODEL, prompt: FAIL, seconds: "1" });
    const page = await clientOf(user).videos.list();
    assert.deepEqual(page.data.map((found) => found.id), [video.id]);
  },
};

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const waiting = Object.entries(scenarios).map(([name, runIt], n) => [name, runIt, given.keys[n]]);

async function worker() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const [name, runIt, key] = next;
    const began = Date.now();
    let wrong = null;
    try {
      await runIt({ key });
    } catch (error) {
      wrong = error.stack ?? `${error}`;
    }
    tell({ name, wrong, seconds: (Date.now() - began) / 1000 });
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, worker));
tell({ version: VERSION });
