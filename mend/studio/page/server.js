// The server as the page sees it: a session with pictures. The page has their files, and sends again what the server no longer
// has: it was started anew, the machine slept for long, or others needed the room.
import { request } from "./request.js";

const GONE = 410; // a session, or a picture in it

export class Server {
  session = null;

  // What the studio offers: {models, examples, megabytes}.
  async open() {
    const offered = await request("/sessions");
    this.session = offered.session;
    return offered;
  }

  at(path) {
    return `/sessions/${this.session}${path}`;
  }

  // Ask of the session; where it is gone, of a new one.
  async ask(path, options, stage) {
    if (!this.session) await this.open();
    return request(this.at(path), options, stage).catch(async (error) => {
      if (error.status !== GONE) throw error;
      await this.open();
      return request(this.at(path), options, stage);
    });
  }

  send(name, file, options, stage) {
    return this.ask(`/pictures?name=${encodeURIComponent(name)}`, { ...options, body: file }, stage);
  }

  // The key of a version of a picture, which is sent where the server does not have it.
  async key(version, options, stage = () => {}) {
    if (!version.key || version.session !== this.session) {
      stage("sending the picture again");
      version.key = (await this.send(version.name, version.file, options, stage)).picture;
      version.session = this.session;
    }
    return version.key;
  }

  // Ask something of a version of a picture.
  async askOf(version, path, options, stage) {
    const once = async () => request(this.at(`/pictures/${await this.key(version, options, stage)}${path}`), options, stage);
    return once().catch((error) => {
      if (error.status !== GONE) throw error;
      version.key = null;
      return once();
    });
  }

  // A file of a version: "result" or "full".
  async fetch(version, part, options) {
    const response = await fetch(this.at(`/pictures/${version.key}/${part}`), options);
    if (!response.ok) throw new Error(`The studio answered with ${response.status}.`);
    return response;
  }

  alive() {
    if (this.session) fetch(this.at("/alive"), { method: "POST" }).catch(() => {});
  }

  close() {
    if (this.session) navigator.sendBeacon(this.at("/close"));
    this.session = null; // a page that comes back opens another
  }
}
