"use strict";
// One player at a time; a line over the picture shows where it is, and a click there moves it.
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const picture = document.getElementById(player.dataset.picture);
  const line = document.createElement("span");
  line.className = "playhead";
  line.hidden = true;
  picture.append(line);
  const left = Number(picture.dataset.left), right = Number(picture.dataset.right);
  const show = () => {
    if (!player.duration) return;
    const share = player.currentTime % (Number(player.dataset.period) || Infinity) /
      (Number(player.dataset.period) || player.duration);
    line.style.left = `${left + share * (right - left)}%`;
  };
  let frame = 0;
  const follow = () => {
    show();
    frame = requestAnimationFrame(follow);
  };
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    line.hidden = false;
    cancelAnimationFrame(frame);
    follow();
  });
  player.addEventListener("pause", () => cancelAnimationFrame(frame));
  player.addEventListener("seeked", show);
  picture.addEventListener("click", (event) => {
    if (!player.duration || player.dataset.period) return;
    const box = picture.getBoundingClientRect();
    const share = (100 * (event.clientX - box.left) / box.width - left) / (right - left);
    player.currentTime = Math.min(1, Math.max(0, share)) * player.duration;
    line.hidden = false;
  });
}
// A chunk is too short to seek in: one button does.
for (const button of document.querySelectorAll("button.play")) {
  const player = document.getElementById(button.dataset.player);
  player.controls = false;
  player.hidden = true;
  button.hidden = false;
  button.addEventListener("click", () => {
    if (player.paused) {
      player.currentTime = 0;
      player.play().catch(() => {}); // stopped before it began
    } else {
      player.pause();
    }
  });
  for (const [event, pressed] of [["play", "true"], ["pause", "false"], ["ended", "false"]]) {
    player.addEventListener(event, () => button.setAttribute("aria-pressed", pressed));
  }
}
