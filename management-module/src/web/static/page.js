// What the page does beyond HTML. Everything works without it but live parts, filters and uploads.
'use strict';

// What the page itself has set on an element, which the server knows nothing of.
const own = ['open', 'hidden', 'data-sent'];

const alike = (one, other) => one.nodeName === other.nodeName && one.className === other.className;

// Brings `old` to what `fresh` holds, in place: a button that is being pressed, the focus and what was opened stay.
function bring(old, fresh) {
  let next = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    let there = next;
    while (there && !alike(there, node)) there = there.nextSibling;
    if (!there) {
      old.insertBefore(node, next);
      continue;
    }
    removeUntil(next, there);
    next = there.nextSibling;
    if (there.nodeType !== Node.ELEMENT_NODE) {
      if (there.data !== node.data) there.data = node.data;
      continue;
    }
    for (const name of there.getAttributeNames()) {
      if (!own.includes(name) && !node.hasAttribute(name)) there.removeAttribute(name);
    }
    for (const name of node.getAttributeNames()) {
      if (there.getAttribute(name) !== node.getAttribute(name)) there.setAttribute(name, node.getAttribute(name));
    }
    bring(there, node);
  }
  removeUntil(next, null);
}

// Removes `node` and its next siblings up to `end`, which stays.
function removeUntil(node, end) {
  while (node !== end) {
    const next = node.nextSibling;
    node.remove();
    node = next;
  }
}

// On a narrow screen places roll sideways: the one that is open comes into sight.
function showPlace() {
  for (const places of document.querySelectorAll('.side, .tabs')) {
    const here = places.querySelector('[aria-current]');
    if (here) places.scrollLeft = here.offsetLeft - places.offsetLeft - (places.clientWidth - here.offsetWidth) / 2;
  }
}
showPlace();
addEventListener('resize', showPlace);

// Parts that the server keeps up to date: the HTML in an event was made and escaped by the server.
for (const part of document.querySelectorAll('[data-live]')) {
  const source = new EventSource(part.dataset.live);
  source.addEventListener('html', (event) => {
    const fresh = document.createElement('template');
    fresh.innerHTML = event.data;
    bring(part, fresh.content);
    filterAll();
  });
  source.addEventListener('over', (event) => {
    source.close();
    if (event.data === '.') location.reload();
    else if (event.data) location.assign(event.data);
  });
  addEventListener('pagehide', () => source.close());
}

// Lines that come at the end: kept in sight while the reader is at the end.
for (const part of document.querySelectorAll('[data-lines]')) {
  const source = new EventSource(part.dataset.lines);
  const most = 5000;
  source.addEventListener('line', (event) => {
    const atEnd = part.scrollTop + part.clientHeight >= part.scrollHeight - 40;
    for (const text of event.data.split('\n')) {
      const line = document.createElement('span');
      line.textContent = text + '\n';
      part.append(line);
    }
    while (part.childElementCount > most) part.firstElementChild.remove();
    filterAll();
    if (atEnd) part.scrollTop = part.scrollHeight;
  });
  source.addEventListener('over', () => source.close());
  addEventListener('pagehide', () => source.close());
}

// A field that hides what does not hold its text: rows of a table or lines of a log.
const filters = [...document.querySelectorAll('[data-filter]')];
function filterAll() {
  for (const field of filters) {
    const wanted = field.value.toLowerCase();
    const list = document.getElementById(field.dataset.filter);
    const pieces = list ? list.querySelectorAll(':scope tbody tr, :scope > span') : [];
    for (const piece of pieces) piece.hidden = wanted !== '' && !piece.textContent.toLowerCase().includes(wanted);
  }
}
for (const field of filters) field.addEventListener('input', filterAll);

// A form is sent once, also one that came later.
addEventListener('submit', (event) => {
  const form = event.target;
  if (form.getAttribute('method') !== 'post') return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = 'yes';
  setTimeout(() => delete form.dataset.sent, 5000);
});
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-sent]')) delete form.dataset.sent;
});

// Files go to the server as they are, with progress.
for (const form of document.querySelectorAll('form[data-upload]')) {
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const file = form.querySelector('input[type=file]').files[0];
    if (!file) return;
    const bar = form.querySelector('progress');
    const said = form.querySelector('[role=status]');
    bar.hidden = false;
    const request = new XMLHttpRequest();
    request.upload.addEventListener('progress', (now) => {
      bar.max = now.total;
      bar.value = now.loaded;
    });
    request.addEventListener('load', () => {
      bar.hidden = true;
      if (request.status < 300) location.assign(request.responseText);
      else said.textContent = request.responseText;
    });
    request.addEventListener('error', () => {
      bar.hidden = true;
      said.textContent = form.dataset.failed;
    });
    request.open('POST', form.dataset.upload);
    request.setRequestHeader('x-form-token', form.dataset.token);
    request.send(file);
  });
}

// Fields that only one choice needs.
for (const choice of document.querySelectorAll('[data-shows]')) {
  const show = () => {
    for (const part of document.querySelectorAll('[data-shown-for]')) {
      const wanted = part.dataset.shownFor.split(' ');
      const chosen = choice.type === 'radio'
        ? document.querySelector(`input[name="${choice.name}"]:checked`)?.value : choice.value;
      part.hidden = !wanted.includes(chosen);
    }
  };
  choice.addEventListener('change', show);
  show();
}
