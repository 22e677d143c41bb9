// Narrows the page to what the reader looks for. Without it everything is there.
(function () {
  var box = document.getElementById("-search");
  var none = document.getElementById("-none");
  var articles = Array.from(document.querySelectorAll("main article"));
  var texts = articles.map(function (article) { return article.textContent.toLowerCase(); });
  var links = Array.from(document.querySelectorAll("nav li a"));
  function narrow() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = new Set();
    articles.forEach(function (article, i) {
      var fits = words.every(function (word) { return texts[i].includes(word); });
      article.hidden = !fits;
      if (fits) shown.add("#" + article.querySelector("h2").id);
    });
    links.forEach(function (link) { link.parentNode.hidden = !shown.has(link.getAttribute("href")); });
    document.querySelectorAll("nav section").forEach(function (section) {
      section.hidden = !section.querySelector("li:not([hidden])");
    });
    none.hidden = shown.size > 0;
  }
  box.hidden = false;
  box.addEventListener("input", narrow);
  addEventListener("keydown", function (event) {
    if (event.key === "/" && document.activeElement !== box) {
      event.preventDefault();
      document.getElementById("-methods").open = true;
      box.focus();
    } else if (event.key === "Escape" && document.activeElement === box) {
      box.value = "";
      narrow();
    }
  });
  // A link to something that is hidden shows everything again.
  addEventListener("hashchange", function () {
    var target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.closest("[hidden]")) {
      box.value = "";
      narrow();
      target.scrollIntoView();
    }
  });
  var narrowScreen = matchMedia("(max-width: 800px)");
  function fold() { document.getElementById("-methods").open = !narrowScreen.matches; }
  narrowScreen.addEventListener("change", fold);
  fold();
  links.forEach(function (link) { link.addEventListener("click", fold); });
})();
