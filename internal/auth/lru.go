package auth

import "container/list"

// lru is a bounded map that drops what was not used for longest. It is not safe
// for concurrent use.
type lru[K comparable, V any] struct {
	max   int
	order *list.List // front is the most recently used
	items map[K]*list.Element
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](maxItems int) *lru[K, V] {
	return &lru[K, V]{max: maxItems, order: list.New(), items: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(k K) (v V, ok bool) {
	e, ok := l.items[k]
	if !ok {
		return v, false
	}
	l.order.MoveToFront(e)
	item, ok := e.Value.(*lruItem[K, V])
	return item.value, ok
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.items[k]; ok {
		e.Value = &lruItem[K, V]{k, v}
		l.order.MoveToFront(e)
		return
	}
	l.items[k] = l.order.PushFront(&lruItem[K, V]{k, v})
	if l.order.Len() > l.max {
		l.drop(l.order.Back())
	}
}

func (l *lru[K, V]) remove(k K) {
	if e, ok := l.items[k]; ok {
		l.drop(e)
	}
}

func (l *lru[K, V]) drop(e *list.Element) {
	if item, ok := l.order.Remove(e).(*lruItem[K, V]); ok {
		delete(l.items, item.key)
	}
}
